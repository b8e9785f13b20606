//! `[jwt]`: the service that vouches for its accounts.

use std::fmt;
use std::path::{Path, PathBuf};

use parlor_core::secret::Secret;
use parlor_storage::{JwtAlgorithm, JwtOptions};
use serde::Deserialize;

use super::ConfigError;

/// The claim that a new account has its name from, unless something else is said (OpenID Connect
/// Core 1.0, section 5.1).
const NAME_CLAIM: &str = "preferred_username";

/// Whose tokens are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Jwt {
    algorithm: JwtAlgorithm,
    key: PathBuf,
    issuer: String,
    audience: String,
    name_claim: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JwtTable {
    algorithm: String,
    key: PathBuf,
    issuer: String,
    audience: String,
    name_claim: Option<String>,
}

impl JwtTable {
    /// Checks what the file says.
    pub(super) fn read(self) -> Result<Jwt, ConfigError> {
        let rule = |key, rule| ConfigError::OutOfRange { key, rule };
        let algorithm = self.algorithm.parse();
        let algorithm = algorithm.map_err(|_| rule("jwt.algorithm", JwtAlgorithm::NAMES))?;
        for (key, text) in [
            ("jwt.issuer", &self.issuer),
            ("jwt.audience", &self.audience),
        ] {
            if text.is_empty() {
                return Err(rule(key, "a text that tokens have, not an empty one"));
            }
        }
        Ok(Jwt {
            algorithm,
            key: self.key,
            issuer: self.issuer,
            audience: self.audience,
            name_claim: self.name_claim.unwrap_or_else(|| NAME_CLAIM.to_owned()),
        })
    }
}

impl Jwt {
    /// Reads the key's file. A line end behind a secret is none of it.
    pub(crate) fn options(&self) -> Result<JwtOptions, ConfigError> {
        let key = std::fs::read_to_string(&self.key).map_err(|error| ConfigError::JwtKey {
            path: self.key.clone(),
            error,
        })?;
        Ok(JwtOptions {
            algorithm: self.algorithm,
            key: Secret::new(key.trim_end_matches(['\r', '\n'])),
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            name_claim: self.name_claim.clone(),
        })
    }
}

/// Writes the table as a file that says the same.
pub(super) fn print(jwt: Option<&Jwt>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(jwt) = jwt else {
        return writeln!(out, "\n# [jwt]: not set, nobody else vouches for accounts");
    };
    let quoted = |text: &str| toml::Value::String(text.to_owned());
    let path = |path: &Path| quoted(&path.display().to_string());
    writeln!(out, "\n[jwt]")?;
    writeln!(out, "algorithm = \"{}\"", jwt.algorithm)?;
    writeln!(out, "key = {}", path(&jwt.key))?;
    writeln!(out, "issuer = {}", quoted(&jwt.issuer))?;
    writeln!(out, "audience = {}", quoted(&jwt.audience))?;
    writeln!(out, "name_claim = {}", quoted(&jwt.name_claim))
}
