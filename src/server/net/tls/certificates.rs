//! All certificates, as their files are now.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tracing::{error, info, warn};

use super::certificate::Certificate;
use super::challenges::Challenges;
use super::{ACME_TLS, CertificateInfo, PemFiles, TlsError};

/// A certificate that ends within this time should have been renewed: those of today are for 45 days and more, and are
/// renewed when a third of that is left.
const SOON: TimeDelta = TimeDelta::days(7);
/// How often that is said.
const SAY_EVERY: TimeDelta = TimeDelta::days(1);

pub(super) struct Certificates {
    files: Vec<PemFiles>,
    current: RwLock<Vec<Certificate>>,
    /// Held while the files are read.
    seen: Mutex<Seen>,
    challenges: Challenges,
}

/// What the files looked like when they were last read.
struct Seen {
    stamps: Vec<Option<Stamp>>,
    /// When it was last said that a certificate ends soon.
    said_at: Option<DateTime<Utc>>,
}

/// Differs when a file has been replaced or written to.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Certificates {
    pub(super) fn open(files: Vec<PemFiles>) -> Result<Self, TlsError> {
        // Before they are read: what changes meanwhile is seen at the next look.
        let stamps = stamps(&files);
        let current = load(&files)?;
        let certificates = Self::with(files, current, stamps);
        certificates.say_what_is_used();
        Ok(certificates)
    }

    /// The certificate in these files; none if there is none, or it can't be used.
    pub(super) fn open_or_none(files: PemFiles) -> Self {
        let files = vec![files];
        let stamps = stamps(&files);
        let current = load(&files).unwrap_or_default();
        let certificates = Self::with(files, current, stamps);
        certificates.say_what_is_used();
        certificates
    }

    fn with(files: Vec<PemFiles>, current: Vec<Certificate>, stamps: Vec<Option<Stamp>>) -> Self {
        let seen = Mutex::new(Seen { stamps, said_at: None });
        Self { files, current: RwLock::new(current), seen, challenges: Challenges::default() }
    }

    /// What proves to an authority that names lead here.
    pub(super) fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    /// The first certificate.
    pub(super) fn end_entity(&self) -> Option<CertificateDer<'static>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.first()?.key.cert.first().cloned()
    }

    pub(super) fn in_use(&self) -> Vec<CertificateInfo> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.iter().map(|certificate| certificate.info.clone()).collect()
    }

    /// Reads the files again if they have changed.
    pub(super) fn check(&self) {
        let stamps = stamps(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.stamps != stamps {
            self.read_again(&mut seen, stamps);
        }
        self.say_what_ends(&mut seen);
    }

    /// Reads the files again.
    pub(super) fn reload(&self) {
        let stamps = stamps(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_again(&mut seen, stamps);
    }

    fn read_again(&self, seen: &mut Seen, stamps: Vec<Option<Stamp>>) {
        seen.stamps = stamps;
        match load(&self.files) {
            Ok(current) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
                seen.said_at = None;
                self.say_what_is_used();
            }
            // Once for each change: the files may be half-way written, and the rest will be a change too.
            Err(error) => error!(%error, "the new certificate can't be used: the one before stays"),
        }
    }

    fn say_what_is_used(&self) {
        for CertificateInfo { names, not_after, .. } in self.in_use() {
            info!(names = names.join(", "), %not_after, "a certificate is in use");
        }
    }

    fn say_what_ends(&self, seen: &mut Seen) {
        let now = Utc::now();
        if seen.said_at.is_some_and(|said_at| now - said_at < SAY_EVERY) {
            return;
        }
        seen.said_at = Some(now);
        for CertificateInfo { names, not_after, .. } in self.in_use() {
            let names = names.join(", ");
            if not_after <= now {
                error!(names, %not_after, "a certificate has expired: clients refuse it. Renew it; its files are read by themselves");
            } else if not_after - now < SOON {
                warn!(names, %not_after, "a certificate expires soon: renew it; its files are read by themselves");
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if client.alpn().into_iter().flatten().any(|protocol| protocol == ACME_TLS) {
            return self.challenges.certificate(client.server_name()?);
        }
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let named = client.server_name();
        let is_named = |certificate: &&Certificate| named.is_some_and(|name| certificate.is_for(name));
        let chosen = current.iter().filter(is_named).find(|certificate| certificate.suits(&client));
        // Somebody who asks for another name sees from the certificate whose server this is.
        let chosen = chosen.or_else(|| current.iter().find(|certificate| certificate.suits(&client)));
        chosen.map(|certificate| certificate.key.clone())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.in_use()).finish()
    }
}

fn load(files: &[PemFiles]) -> Result<Vec<Certificate>, TlsError> {
    files.iter().map(Certificate::load).collect()
}

fn stamps(files: &[PemFiles]) -> Vec<Option<Stamp>> {
    files.iter().flat_map(|files| [&files.certificate, &files.key]).map(|path| stamp(path)).collect()
}

/// Of the file that a link leads to: those who renew certificates swap links.
fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some(Stamp { inode: file.ino(), bytes: file.len(), modified: file.modified().ok() })
}
