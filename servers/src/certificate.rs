//! Certificates of a private authority.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::ServerError;
use crate::program::find;
use crate::server::{folder as make_folder, write};

/// A certificate for 127.0.0.1, valid for two days, and the authority that signed it; all in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The authority's own certificate.
    pub authority: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes an authority and a certificate in a folder.
    ///
    /// # Errors
    /// Where openssl is missing or fails.
    pub fn make(path: &Path) -> Result<Self, ServerError> {
        let program = find("openssl", "openssl")?;
        let folder = make_folder(path)?;
        write(&folder.join("names"), "subjectAltName=IP:127.0.0.1")?;
        for arguments in [
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt",
            "req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr",
            "x509 -req -days 2 -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names \
             -out server.crt",
        ] {
            let output = Command::new(&program)
                .args(arguments.split_whitespace())
                .current_dir(&folder)
                .stdin(Stdio::null())
                .output()
                .map_err(ServerError::io("running openssl"))?;
            if !output.status.success() {
                return Err(ServerError::Refused {
                    name: "openssl".to_owned(),
                    reason: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                });
            }
        }
        Ok(Self {
            authority: folder.join("ca.crt"),
            certificate: folder.join("server.crt"),
            key: folder.join("server.key"),
        })
    }
}
