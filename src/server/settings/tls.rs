//! The settings of TLS: which certificates, and what clients in clear text get.

use std::path::{Path, PathBuf};

use super::{AcmeChallenge, AcmeOptions, Options, PemFiles, SettingsError, TlsError, invalid};
use crate::server::net::{SelfSigned, Tls, directory};

/// The folder for certificates within the data folder.
const FOLDER: &str = "tls";

/// Where the certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsSettings {
    /// In these files.
    Files(Vec<PemFiles>),
    /// In the data folder: one of our own, which clients have to be told to trust.
    SelfSigned(PathBuf),
    /// They are ordered.
    Acme(AcmeOptions),
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
        if let Some(acme) = acme(options, data)? {
            if is_self_signed || !certificates.is_empty() {
                let hint = "there is another certificate too: keep one of both";
                return Err(invalid("acme-domains", acme.domains.join(","), hint));
            }
            return Ok(Some(Self::Acme(acme)));
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
            let hint = "needs a certificate: --tls-certificate-file and --tls-key-file, --acme-domains, or --tls-self-signed for a try";
            return Err(invalid("listen", address, hint));
        }
        Ok(settings)
    }

    /// Reads the certificates, makes one of our own, or has one ordered.
    pub(in crate::server) fn open(&self) -> Result<Tls, TlsError> {
        match self {
            Self::Files(files) => Tls::open(files.clone()),
            Self::SelfSigned(folder) => Tls::open(vec![SelfSigned::open(folder)?.files]),
            Self::Acme(options) => Tls::order(options.clone()),
        }
    }
}

fn acme(options: &Options, data: &Path) -> Result<Option<AcmeOptions>, SettingsError> {
    let domains = options.acme_domains.clone();
    if domains.is_empty() {
        return Ok(None);
    }
    let is_name = |domain: &String| {
        let is_label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        domain.contains('.') && domain.split('.').all(is_label) && domain.parse::<std::net::IpAddr>().is_err()
    };
    if let Some(domain) = domains.iter().find(|domain| !is_name(domain)) {
        let hint =
            "must be public names of this server, for example hub.example.com; a name with * can't be proved from here";
        return Err(invalid("acme-domains", domain, hint));
    }
    let directory = directory(options.acme_directory.as_deref().unwrap_or("letsencrypt"));
    if !directory.starts_with("https://") {
        let hint = "must be letsencrypt, letsencrypt-staging or the https:// URL of an authority's directory";
        return Err(invalid("acme-directory", directory, hint));
    }
    let challenge = options.acme_challenge.map(Into::into).unwrap_or_default();
    if challenge == AcmeChallenge::Http01 && options.redirect_http == Some(false) {
        let hint = "needs --redirect-http: the answer is given where clients in clear text are led to TLS";
        return Err(invalid("acme-challenge", "http-01", hint));
    }
    let contact = |address: &String| if address.contains(':') { address.clone() } else { format!("mailto:{address}") };
    Ok(Some(AcmeOptions {
        domains,
        contacts: options.acme_contact.iter().map(contact).collect(),
        directory,
        root: options.acme_root_file.clone(),
        challenge,
        folder: data.join(FOLDER).join("acme"),
    }))
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",")
}
