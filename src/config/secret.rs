use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// A secret as configured: given in place, or in a mounted file that is read anew each time it is needed.
#[derive(Debug, Clone)]
pub enum Secret {
    /// Given in place.
    Inline(SecretString),
    /// In a file (`…_FILE`); one line break at its end is not part of it.
    File(PathBuf),
}

/// A secret's file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the secret file {}: {source}", path.display())]
pub struct SecretError {
    path: PathBuf,
    source: std::io::Error,
}

impl Secret {
    /// A secret given in place.
    #[must_use]
    pub fn inline(text: impl Into<String>) -> Self {
        Self::Inline(SecretString::from(text.into()))
    }

    /// The file it is in, if it is in one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Inline(_) => None,
            Self::File(path) => Some(path),
        }
    }

    /// The same for a PEM, which in an environment variable often has `\n` for its line breaks.
    pub(super) fn with_line_breaks(self) -> Self {
        match self {
            Self::Inline(text) => Self::inline(text.expose_secret().replace("\\n", "\n")),
            file @ Self::File(_) => file,
        }
    }

    /// The secret as it is now.
    ///
    /// # Errors
    /// [`SecretError`] when its file cannot be read or is no UTF-8.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::Inline(secret) => Ok(SecretString::from(secret.expose_secret().to_owned())),
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(mut text) => {
                    if text.ends_with('\n') {
                        text.pop();
                        if text.ends_with('\r') {
                            text.pop();
                        }
                    }
                    Ok(SecretString::from(text))
                }
                Err(source) => Err(SecretError { path: path.clone(), source }),
            },
        }
    }
}
