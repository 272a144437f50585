//! Certificates from an authority that speaks ACME (RFC 8555): ordered when there is none, and renewed when the authority
//! says so (ARI, RFC 9773).

mod folder;
mod order;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use instant_acme::{Account, CertificateIdentifier, ChallengeType, LetsEncrypt};
use rand::Rng;
use tokio::time::sleep;
use tracing::{debug, error, info};

use super::certificates::Certificates;
use super::{CertificateInfo, PemFiles};
use folder::{AcmeFolder, Attempts};

/// How often the authority is asked at most when a certificate should be renewed.
const ASK_EVERY: Duration = Duration::from_secs(6 * 60 * 60);
/// How long to wait after a first failure; four times as long after each further one. Let's Encrypt allows five failures in
/// an hour.
const FIRST_PAUSE: TimeDelta = TimeDelta::minutes(1);
const LONGEST_PAUSE: TimeDelta = TimeDelta::days(1);
/// The time from a certificate to the next order, whatever is wrong with it.
const LEAST_PAUSE: TimeDelta = TimeDelta::minutes(10);

/// What is to be ordered, and from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeOptions {
    /// The names that the certificate is for.
    pub domains: Vec<String>,
    /// Whom the authority writes to, as `mailto:` URLs.
    pub contacts: Vec<String>,
    /// The authority's directory.
    pub directory: String,
    /// The certificate of a private authority's own server, in PEM.
    pub root: Option<PathBuf>,
    /// How it is proved that the names lead here.
    pub challenge: AcmeChallenge,
    /// Where the account and the certificate are kept.
    pub folder: PathBuf,
}

/// How it is proved that a name leads here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// By a certificate at port 443 (RFC 8737).
    #[default]
    TlsAlpn01,
    /// By a file at port 80 (RFC 8555, 8.3).
    Http01,
}

impl AcmeChallenge {
    fn kind(self) -> ChallengeType {
        match self {
            Self::TlsAlpn01 => ChallengeType::TlsAlpn01,
            Self::Http01 => ChallengeType::Http01,
        }
    }
}

/// The directory that a setting means: a name or a URL.
pub(crate) fn directory(text: &str) -> String {
    match text {
        "letsencrypt" => LetsEncrypt::Production.url().into(),
        "letsencrypt-staging" => LetsEncrypt::Staging.url().into(),
        url => url.into(),
    }
}

/// The certificate's files, which need not be there yet.
pub(super) fn files(folder: &Path) -> PemFiles {
    PemFiles { certificate: folder.join("certificate.pem"), key: folder.join("certificate.key") }
}

/// Keeps a certificate fresh.
pub(super) struct Acme {
    options: AcmeOptions,
    folder: AcmeFolder,
    certificates: Arc<Certificates>,
    /// Not from the folder each time: on a disk that is full it could not be noted that an order was made.
    attempts: Mutex<Attempts>,
}

impl Acme {
    pub(super) fn new(options: AcmeOptions, certificates: Arc<Certificates>) -> Self {
        let folder = AcmeFolder::new(options.folder.clone());
        let attempts = Mutex::new(folder.attempts());
        Self { options, folder, certificates, attempts }
    }

    /// Orders certificates when they are due, for ever.
    pub(super) async fn run(&self) -> Infallible {
        loop {
            let due = self.due().await;
            let now = Utc::now();
            // The clock may be set, and the authority may change its mind.
            let wait = (due - now).to_std().unwrap_or_default().min(ASK_EVERY);
            if !wait.is_zero() {
                sleep(wait).await;
                continue;
            }
            // Before the order: a server that is started again and again must not order again and again.
            let failed = self.attempts().failed(now);
            self.note(failed);
            match self.order().await {
                Ok(()) => {
                    self.note(Attempts::succeeded(now));
                    self.certificates.reload();
                }
                Err(error) => {
                    let again = failed.again.as_ref().map(DateTime::to_rfc3339);
                    error!(%error, again, domains = self.options.domains.join(", "), "no certificate was issued");
                }
            }
        }
    }

    /// When the next order is due.
    async fn due(&self) -> DateTime<Utc> {
        let Some(info) = self.certificates.in_use().into_iter().find(|info| self.covers(info)) else {
            return self.attempts().again.unwrap_or_else(Utc::now);
        };
        let due = match self.suggested().await {
            Some(due) => due,
            // As authorities recommend: when a third of its life is left.
            None => info.not_after - (info.not_after - info.not_before) / 3,
        };
        self.attempts().again.map_or(due, |again| due.max(again))
    }

    /// How orders have gone.
    fn attempts(&self) -> Attempts {
        *self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, attempts: Attempts) {
        *self.attempts.lock().unwrap_or_else(PoisonError::into_inner) = attempts;
        self.folder.note(&attempts);
    }

    /// Whether a certificate is for all names that are wanted.
    fn covers(&self, info: &CertificateInfo) -> bool {
        self.options.domains.iter().all(|domain| info.names.iter().any(|name| name.eq_ignore_ascii_case(domain)))
    }

    /// When the authority would have the certificate renewed: some time in the window that it names.
    async fn suggested(&self) -> Option<DateTime<Utc>> {
        let certificate = self.certificates.end_entity()?;
        let id = CertificateIdentifier::try_from(&certificate).ok()?;
        let account = self.account().await.inspect_err(|error| debug!(%error, "no ACME account")).ok()?;
        let (info, _) = account.renewal_info(&id).await.inspect_err(|error| debug!(%error, "no ARI")).ok()?;
        let (start, end) = (info.suggested_window.start.unix_timestamp(), info.suggested_window.end.unix_timestamp());
        // The same time whenever it is asked: it follows from the certificate, which differs from server to server.
        let spread = u64::try_from(end - start).unwrap_or_default().max(1);
        let offset = certificate.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        DateTime::from_timestamp(start + i64::try_from(offset % spread).unwrap_or_default(), 0)
    }

    async fn order(&self) -> Result<(), instant_acme::Error> {
        info!(domains = self.options.domains.join(", "), directory = self.options.directory, "ordering a certificate");
        let account = self.account().await?;
        let before = self.certificates.end_entity();
        let replaces = before.as_ref().and_then(|certificate| CertificateIdentifier::try_from(certificate).ok());
        let challenges = self.certificates.challenges();
        let issued = order::order(&account, &self.options, replaces, challenges).await;
        challenges.clear();
        let (chain, key) = issued?;
        self.folder.write_certificate(&chain, &key).map_err(other)?;
        Ok(())
    }

    async fn account(&self) -> Result<Account, instant_acme::Error> {
        let builder = || match &self.options.root {
            Some(root) => Account::builder_with_root(root),
            None => Account::builder(),
        };
        if let Some(credentials) = self.folder.account(&self.options.directory) {
            return builder()?.from_credentials(credentials).await;
        }
        let contacts: Vec<_> = self.options.contacts.iter().map(String::as_str).collect();
        let new =
            instant_acme::NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder()?.create(&new, self.options.directory.clone(), None).await?;
        self.folder.write_account(&self.options.directory, &credentials).map_err(other)?;
        Ok(account)
    }
}

impl Attempts {
    fn succeeded(now: DateTime<Utc>) -> Self {
        Self { failures: 0, again: Some(now + LEAST_PAUSE) }
    }

    /// As they have gone once one more has failed.
    fn failed(self, now: DateTime<Utc>) -> Self {
        let pause = (FIRST_PAUSE * 4_i32.saturating_pow(self.failures.min(8))).min(LONGEST_PAUSE);
        // Servers that have failed together should not come back together.
        let spread = rand::rng().random_range(0..=pause.num_seconds() / 4);
        Self { failures: self.failures + 1, again: Some(now + pause + TimeDelta::seconds(spread)) }
    }
}

fn other(error: std::io::Error) -> instant_acme::Error {
    instant_acme::Error::Other(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_makes_the_next_order_wait_for_longer_and_no_order_follows_another_at_once() {
        let now = Utc::now();
        let minutes = |attempts: Attempts| (attempts.again.expect("it has to wait") - now).num_minutes();
        assert_eq!(minutes(Attempts::succeeded(now)), 10);
        let failures = std::iter::successors(Some(Attempts::default().failed(now)), |before| Some(before.failed(now)));
        let waits: Vec<_> = failures.take(12).map(minutes).collect();
        for (wait, least) in waits.iter().zip([1, 4, 16, 64, 256, 1024, 1440, 1440, 1440]) {
            assert!((least..=least * 5 / 4 + 1).contains(wait), "{waits:?}");
        }
        assert!(waits.iter().all(|wait| *wait <= 24 * 60 * 5 / 4), "{waits:?}");
        assert_eq!(Attempts::default().again, None);
    }
}
