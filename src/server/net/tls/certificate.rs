//! One certificate with its key, from its files.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error as RustlsError, InconsistentKeys};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::{CertificateInfo, PemFiles, TlsError, read};

pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) info: CertificateInfo,
}

impl Certificate {
    pub(super) fn load(files: &PemFiles) -> Result<Self, TlsError> {
        let chain = chain(&files.certificate)?;
        let key = private_key(&files.key)?;
        let info = info(&chain[0]).map_err(|reason| content(&files.certificate, reason))?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
            RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() }
            }
            error => content(&files.key, error.to_string()),
        })?;
        Ok(Self { key: Arc::new(key), info })
    }

    /// Whether it is for the name that a client asks for.
    pub(super) fn is_for(&self, name: &str) -> bool {
        let Ok(name) = ServerName::try_from(name) else { return false };
        let parsed = self.key.end_entity_cert().and_then(ParsedCertificate::try_from);
        parsed.is_ok_and(|certificate| verify_server_name(&certificate, &name).is_ok())
    }

    /// Whether a client can check what its key has signed.
    pub(super) fn suits(&self, client: &ClientHello<'_>) -> bool {
        self.key.key.choose_scheme(client.signature_schemes()).is_some()
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(content(
            path,
            "there is no certificate in it. Write it in PEM: -----BEGIN CERTIFICATE-----, with those \
                               that lead to its authority behind it",
        )),
        Err(error) => Err(content(path, format!("it is not valid PEM: {error}"))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        PemError::NoItemsFound if String::from_utf8_lossy(&text).contains("BEGIN ENCRYPTED PRIVATE KEY") => content(
            path,
            "the key has a passphrase, which nobody could type at a restart. Write it without one, readable \
                           for this server alone: openssl pkey -in KEY -out NEW",
        ),
        PemError::NoItemsFound => content(path, "there is no key in it. Write it in PEM: -----BEGIN PRIVATE KEY-----"),
        error => content(path, format!("it is not valid PEM: {error}")),
    })
}

fn info(certificate: &CertificateDer<'_>) -> Result<CertificateInfo, String> {
    let (_, parsed) =
        parse_x509_certificate(certificate).map_err(|error| format!("its certificate can't be read: {error}"))?;
    let time = |time: x509_parser::time::ASN1Time| DateTime::<Utc>::from_timestamp(time.timestamp(), 0);
    let (not_before, not_after) = (time(parsed.validity().not_before), time(parsed.validity().not_after));
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    });
    let names: Box<[_]> = names.collect();
    if names.is_empty() {
        return Err(
            "its certificate is for no name: it has no subject alternative name, and clients look at no other".into()
        );
    }
    let (not_before, not_after) = not_before.zip(not_after).ok_or("its certificate is valid at no possible time")?;
    Ok(CertificateInfo { names, not_before, not_after })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn content(path: &Path, reason: impl Into<String>) -> TlsError {
    TlsError::Content { path: path.into(), reason: reason.into() }
}
