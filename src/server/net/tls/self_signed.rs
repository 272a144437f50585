//! A certificate of our own, for a try on this machine: browsers have to be told to trust it.

use std::fs;
use std::path::Path;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use sha2::{Digest, Sha256};

use super::certificate::Certificate;
use super::files::replace;
use super::{PemFiles, TlsError};

/// As long as browsers allow for certificates of public authorities.
const LIFETIME: TimeDelta = TimeDelta::days(397);
/// A new one is made when this little is left at the start.
const RENEW: TimeDelta = TimeDelta::days(30);
/// For whom it is.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate for this machine, in the data folder: it stays the same, so that it need be trusted only once.
pub(crate) struct SelfSigned {
    /// Where it is.
    pub(crate) files: PemFiles,
    /// What browsers show of it.
    pub(crate) fingerprint: String,
}

impl SelfSigned {
    /// The certificate in this folder; a new one if there is none, it ends soon or can't be read.
    pub(crate) fn open(folder: &Path) -> Result<Self, TlsError> {
        let files = PemFiles { certificate: folder.join("self-signed.pem"), key: folder.join("self-signed.key") };
        let now = Utc::now();
        let kept = Certificate::load(&files).ok().filter(|kept| kept.info.not_after - now > RENEW);
        let certificate = match kept {
            Some(kept) => kept,
            None => {
                let failed = |reason: String| TlsError::SelfSigned { folder: folder.into(), reason };
                let (certificate, key) = generate(now).map_err(|error| failed(error.to_string()))?;
                fs::create_dir_all(folder).map_err(|error| failed(error.to_string()))?;
                replace(&files.key, &key, 0o600).map_err(|error| failed(error.to_string()))?;
                replace(&files.certificate, &certificate, 0o644).map_err(|error| failed(error.to_string()))?;
                Certificate::load(&files)?
            }
        };
        let digest = Sha256::digest(&certificate.key.cert[0]);
        let fingerprint = digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        Ok(Self { files, fingerprint })
    }
}

fn generate(now: DateTime<Utc>) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(NAMES.map(String::from))?;
    params.distinguished_name.push(DnType::CommonName, "tidings on this machine");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let day = |time: DateTime<Utc>| date_time_ymd(time.year(), time.month() as u8, time.day() as u8);
    // A day early: clocks differ.
    (params.not_before, params.not_after) = (day(now - TimeDelta::days(1)), day(now + LIFETIME));
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}
