//! The bearer token: where it is read from, and how it is sent. It is never printed.

use std::env;
use std::fs;
use std::path::PathBuf;

use clap::Args;
use reqwest::header::HeaderValue;

use super::error::ClientError;

const TOKEN: &str = "TIDINGS_TOKEN";
const TOKEN_FILE: &str = "TIDINGS_TOKEN_FILE";

/// Flags that give a token.
#[derive(Args)]
pub(super) struct TokenArgs {
    /// Bearer token for the hub. Other users of this machine can see it in the list of processes: prefer the environment
    /// or --token-file [env: TIDINGS_TOKEN]
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,

    /// File with the token. It is read again for each connection, so a renewed token is picked up
    /// [env: TIDINGS_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A token, or the file to read it from. It has no `Debug`, so that it can't be printed by accident.
pub(super) enum Token {
    Absent,
    Given(HeaderValue),
    File(PathBuf),
}

impl TokenArgs {
    /// Chooses the token. Flags take precedence over the environment, and an empty variable counts as unset.
    pub(super) fn token(self) -> Result<Token, ClientError> {
        // Not read by clap, which would report a conflict between one flag and the other's variable.
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        let (token, file) = match (self.token, self.token_file) {
            (None, None) => {
                let not_text = |_| ClientError::Usage(format!("{TOKEN} has characters that no token can have"));
                let token = variable(TOKEN).map(|token| token.into_string().map_err(not_text)).transpose()?;
                (token, variable(TOKEN_FILE).map(PathBuf::from))
            }
            flags => flags,
        };
        match (token, file) {
            (Some(_), Some(_)) => Err(ClientError::Usage(format!(
                "{TOKEN} and {TOKEN_FILE} are both set: unset one of them, or use a flag"
            ))),
            (Some(token), None) => bearer(&token).map(Token::Given).map_err(|reason| {
                ClientError::Usage(format!("the token {reason}: give it as it was issued, with --token or {TOKEN}"))
            }),
            (None, Some(file)) if file.as_os_str() == "-" => Err(ClientError::Usage(
                "the token can't come from standard input, because each connection reads it again: name a file".into(),
            )),
            (None, Some(file)) => Ok(Token::File(file)),
            (None, None) => Ok(Token::Absent),
        }
    }
}

impl Token {
    /// Whether a token will be sent.
    pub(super) fn is_present(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// The value of the `Authorization` header for a new connection. Fails if the token's file can't be used.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, ClientError> {
        match self {
            Self::Absent => Ok(None),
            Self::Given(value) => Ok(Some(value.clone())),
            Self::File(path) => {
                let unusable = |reason| ClientError::TokenFile { path: path.clone(), reason };
                let token = fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
                bearer(&token).map(Some).map_err(|reason| unusable(format!("the token in it {reason}")))
            }
        }
    }
}

/// Makes a header value of a token. Accepts `b64token` of RFC 6750 and `VSCHAR` of RFC 6749.
fn bearer(token: &str) -> Result<HeaderValue, &'static str> {
    let token = token.trim();
    if token.is_empty() {
        return Err("is empty");
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has spaces, line ends or other characters that no token can have");
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| "can't be sent")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_without_the_line_end_that_its_file_has() {
        let value = bearer(" abc.def-_~+/=\r\n").expect("a token");
        assert_eq!(value.as_bytes(), b"Bearer abc.def-_~+/=");
        assert!(value.is_sensitive());
    }

    #[test]
    fn what_no_token_can_be_is_refused_without_repeating_it() {
        for secret in ["", " \n", "secret secret", "secret\nsecret", "sécret", "secret\u{7f}"] {
            let reason = bearer(secret).expect_err(secret);
            assert!(!reason.contains("cret"), "{reason}");
        }
    }
}
