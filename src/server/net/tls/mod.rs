//! TLS: the handshake, and which certificate a client gets.

mod acme;
mod certificate;
mod certificates;
mod challenges;
mod files;
mod self_signed;

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs::{self, Ticketer};
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::{HandshakeKind, ServerConfig};
use tokio_rustls::server::TlsStream;

use super::write_timeout::WriteTimeout;
use crate::server::metrics::TLS;
use acme::Acme;
pub(crate) use acme::directory;
pub use acme::{AcmeChallenge, AcmeOptions};
use certificates::Certificates;
pub(crate) use self_signed::SelfSigned;

/// How often the files are looked at.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// HTTP/2 in ALPN (RFC 9113, 3.3).
const H2: &[u8] = b"h2";
/// An authority that looks whether a name leads here (RFC 8737, 6.2).
const ACME_TLS: &[u8] = b"acme-tls/1";

/// The files of a certificate and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemFiles {
    /// The certificate, and behind it those that lead to its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Serves TLS with certificates from files, which may change meanwhile.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    certificates: Arc<Certificates>,
    acme: Option<Acme>,
}

/// A certificate in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateInfo {
    /// For which names and addresses it is.
    pub(crate) names: Box<[String]>,
    /// From when on it is valid.
    pub(crate) not_before: DateTime<Utc>,
    /// When it expires.
    pub(crate) not_after: DateTime<Utc>,
}

/// Why there is no TLS: its `Display` says which file is wrong and what to do.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{} can't be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is another certificate's.
    #[error("{} is not the key of the certificate in {}: name a certificate and its key in the same place of both lists", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A certificate for this machine can't be made.
    #[error("a certificate can't be made in {}: {reason}", folder.display())]
    SelfSigned {
        /// Where it was to be.
        folder: PathBuf,
        /// What is in the way.
        reason: String,
    },
    /// The system gives no random numbers.
    #[error("TLS can't be set up: {0}")]
    Setup(#[from] tokio_rustls::rustls::Error),
}

impl Tls {
    /// Reads the certificates. A client gets the first that is for the name it asks for, or else the first.
    pub(crate) fn open(files: Vec<PemFiles>) -> Result<Self, TlsError> {
        Self::with(Certificates::open(files)?, None)
    }

    /// Has certificates ordered. Until there is the first one, handshakes fail.
    pub(crate) fn order(options: AcmeOptions) -> Result<Self, TlsError> {
        Self::with(Certificates::open_or_none(acme::files(&options.folder)), Some(options))
    }

    fn with(certificates: Certificates, acme: Option<AcmeOptions>) -> Result<Self, TlsError> {
        let certificates = Arc::new(certificates);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(certificates.clone());
        config.alpn_protocols = vec![H2.into(), b"http/1.1".into()];
        if acme.is_some() {
            config.alpn_protocols.push(ACME_TLS.into());
        }
        // A client that comes back has its session in a ticket, and the server keeps nothing of it.
        config.ticketer = Ticketer::new()?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        let acme = acme.map(|options| Acme::new(options, certificates.clone()));
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificates, acme })
    }

    /// When the certificate that expires first does.
    pub(crate) fn expires(&self) -> Option<DateTime<Utc>> {
        self.certificates.in_use().iter().map(|certificate| certificate.not_after).min()
    }

    /// Reads the files again, now and whatever they look like. What can't be used is said, and the certificates that are
    /// in use stay.
    pub(crate) async fn reload(&self) {
        self.on_files(Certificates::reload).await;
    }

    /// What proves to an authority that a name leads here, at the address that ends with this token (RFC 8555, 8.3).
    pub(crate) fn challenge(&self, token: &str) -> Option<String> {
        self.certificates.challenges().file(token)
    }

    /// Has certificates ordered, or reads the files again whenever they have changed, for ever.
    pub(crate) async fn watch(&self) -> Infallible {
        match &self.acme {
            Some(acme) => acme.run().await,
            None => self.watch_files().await,
        }
    }

    async fn watch_files(&self) -> Infallible {
        let mut checks = interval(CHECK_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            checks.tick().await;
            self.on_files(Certificates::check).await;
        }
    }

    /// Looks at the files on a thread that may wait for their disk.
    async fn on_files(&self, work: fn(&Certificates)) {
        let certificates = self.certificates.clone();
        _ = tokio::task::spawn_blocking(move || work(&certificates)).await;
    }

    pub(super) async fn handshake(&self, socket: WriteTimeout) -> io::Result<TlsStream<WriteTimeout>> {
        let stream = self.acceptor.accept(socket).await.inspect_err(|_| TLS.failed.increment(1))?;
        match stream.get_ref().1.handshake_kind() {
            Some(HandshakeKind::Resumed) => TLS.resumed.increment(1),
            _ => TLS.full.increment(1),
        }
        Ok(stream)
    }
}

/// Whether the client has chosen HTTP/2.
pub(super) fn speaks_http2(stream: &TlsStream<WriteTimeout>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(H2)
}

/// Whether it was an authority that has seen what it wanted: nothing follows (RFC 8737, 3).
pub(super) fn is_challenge(stream: &TlsStream<WriteTimeout>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(ACME_TLS)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Unreadable { path: path.into(), error })
}
