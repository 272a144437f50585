//! The settings of TLS: which certificates, and what clients in clear text get.

use std::path::{Path, PathBuf};

use super::{Options, PemFiles, SettingsError, TlsError, invalid};
use crate::server::net::SelfSigned;

/// The folder for certificates within the data folder.
const FOLDER: &str = "tls";

/// Where the certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsSettings {
    /// In these files.
    Files(Vec<PemFiles>),
    /// In the data folder: one of our own, which clients have to be told to trust.
    SelfSigned(PathBuf),
}

impl TlsSettings {
    /// `None` if there is no certificate: everything is in clear text.
    pub(super) fn resolve(options: &Options, data: &Path) -> Result<Option<Self>, SettingsError> {
        let Options { tls_certificate_file: certificates, tls_key_file: keys, .. } = options;
        let is_self_signed = options.tls_self_signed.unwrap_or(false);
        if certificates.len() != keys.len() {
            let hint = format!(
                "there are {} certificates and {} keys: name one --tls-key-file for each --tls-certificate-file, in the \
                 same order",
                certificates.len(),
                keys.len()
            );
            return Err(invalid("tls-key-file", paths(keys), hint));
        }
        if is_self_signed && !certificates.is_empty() {
            let hint = "there are certificates from files too: keep one of both";
            return Err(invalid("tls-self-signed", true, hint));
        }
        let pairs = certificates.iter().zip(keys);
        let pairs = pairs.map(|(certificate, key)| PemFiles { certificate: certificate.clone(), key: key.clone() });
        let files: Vec<_> = pairs.collect();
        let settings = match (is_self_signed, files.is_empty()) {
            (true, _) => Some(Self::SelfSigned(data.join(FOLDER))),
            (false, false) => Some(Self::Files(files)),
            (false, true) => None,
        };
        if settings.is_none()
            && let Some(address) = options.listen.iter().find(|address| address.wants_tls())
        {
            let hint = "needs a certificate: --tls-certificate-file and --tls-key-file, or --tls-self-signed for a try";
            return Err(invalid("listen", address, hint));
        }
        Ok(settings)
    }

    /// The certificates' files, made where they are our own.
    pub fn files(&self) -> Result<Vec<PemFiles>, TlsError> {
        match self {
            Self::Files(files) => Ok(files.clone()),
            Self::SelfSigned(folder) => Ok(vec![SelfSigned::open(folder)?.files]),
        }
    }
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",")
}
