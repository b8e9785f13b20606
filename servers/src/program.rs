//! Where programs are.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::ServerError;

/// Where servers are installed, though not every user's search path names it.
const SYSTEM: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Finds a program by its name, in the search path and where servers are installed; `package` is the
/// one of Debian that has it.
///
/// # Errors
/// [`ServerError::Missing`] where it is nowhere.
pub fn find(program: &'static str, package: &'static str) -> Result<PathBuf, ServerError> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or(ServerError::Missing { program, package })
}

/// Finds a file at its place.
pub(crate) fn file(path: &'static str, package: &'static str) -> Result<PathBuf, ServerError> {
    if Path::new(path).is_file() {
        Ok(path.into())
    } else {
        Err(ServerError::Missing {
            program: path,
            package,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        assert!(find("sh", "dash").unwrap().is_file());
        let missing = find("no-such-program", "some-package").unwrap_err();
        let text = missing.to_string();
        assert!(text.contains("no-such-program is missing"), "{text}");
        assert!(text.contains("apt-get install some-package"), "{text}");
    }
}
