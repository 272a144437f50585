//! The answers to an authority's challenges, while an order is under way.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::sign::CertifiedKey;

#[derive(Default)]
pub(super) struct Challenges {
    /// By the name that is to be proved.
    certificates: RwLock<HashMap<String, Arc<CertifiedKey>>>,
    /// What is at the address that ends with a token.
    files: RwLock<HashMap<String, String>>,
}

impl Challenges {
    /// The certificate that proves a name (RFC 8737).
    pub(super) fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.certificates.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// What proves a name by its file (RFC 8555, 8.3).
    pub(super) fn file(&self, token: &str) -> Option<String> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    pub(super) fn add_certificate(&self, name: String, certificate: CertifiedKey) {
        self.certificates.write().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::new(certificate));
    }

    pub(super) fn add_file(&self, token: String, content: String) {
        self.files.write().unwrap_or_else(PoisonError::into_inner).insert(token, content);
    }

    /// Forgets all answers: the order has ended.
    pub(super) fn clear(&self) {
        self.certificates.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.files.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
