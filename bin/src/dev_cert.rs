//! `parlor dev-cert`: a certificate to try TLS out.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use rcgen::{CertificateParams, DnType, KeyPair};
use thiserror::Error;

use crate::{fail, print};

const EXAMPLES: &str = "\
Examples:
  parlor dev-cert
      Writes cert.pem and key.pem for this machine into the present folder, and says how to use them.
  parlor dev-cert --out ./tls chat.example.org 192.0.2.7
      Writes them into a folder, for a name and an address.

The certificate is good for a year, and for nobody who has not been given it: for a public server,
have an authority issue one. It overwrites nothing.";

/// How long the certificate is good.
const DAYS: i64 = 365;

/// What certificate to make.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Where to write cert.pem and key.pem.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    out: PathBuf,

    /// The names and addresses of the server.
    #[arg(value_name = "HOST", default_values = ["localhost", "127.0.0.1", "::1"])]
    hosts: Vec<String>,
}

/// Why there is no certificate.
#[derive(Debug, Error)]
enum Failure {
    #[error("cannot write {}: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error("cannot make a certificate for {}: {error}", hosts.join(", "))]
    Make {
        hosts: Vec<String>,
        error: rcgen::Error,
    },
}

/// Makes a certificate and says how to use it.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match make(arguments) {
        Ok(said) => print(&said),
        Err(failure) => fail(&failure),
    }
}

fn make(arguments: &Arguments) -> Result<String, Failure> {
    let Arguments { out, hosts } = arguments;
    let (certificate, key) = pair(hosts).map_err(|error| Failure::Make {
        hosts: hosts.clone(),
        error,
    })?;
    let (certificate_path, key_path) = (out.join("cert.pem"), out.join("key.pem"));
    write(&key_path, 0o600, &key)?;
    if let Err(failure) = write(&certificate_path, 0o644, &certificate) {
        // A key without its certificate is of no use; it was written just now.
        let _gone = std::fs::remove_file(&key_path);
        return Err(failure);
    }
    let (certificate, key) = (certificate_path.display(), key_path.display());
    let host = hosts.first().map_or("localhost", String::as_str);
    // An IPv6 address has colons of its own.
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    Ok(format!(
        "wrote {certificate} and {key}, good for {DAYS} days\n\
         serve:  parlor serve --tls-cert {certificate} --tls-key {key}\n\
         chat:   parlor chat --server {host}:6443 --tls --ca {certificate}\n"
    ))
}

/// Returns a certificate that signs itself, and its key.
fn pair(hosts: &[String]) -> Result<(String, String), rcgen::Error> {
    let mut parameters = CertificateParams::new(hosts.to_vec())?;
    let name = "Parlor, to try TLS out";
    parameters.distinguished_name.push(DnType::CommonName, name);
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let day = |days: i64| {
        let date = now.saturating_add(days.days()).date();
        // Months and days are between 1 and 31.
        let small = |number: i8| number.unsigned_abs();
        rcgen::date_time_ymd(date.year().into(), small(date.month()), small(date.day()))
    };
    // Clocks differ.
    parameters.not_before = day(-1);
    parameters.not_after = day(DAYS);
    let key = KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Writes a file that is not there yet.
fn write(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Failure::Write {
        path: path.to_owned(),
        error,
    })
}
