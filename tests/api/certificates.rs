//! Certificates for tests, and a client that looks at what it is given.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The files of a certificate.
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Makes a certificate for these names, in files of this name, in the place of what was there.
pub(crate) fn make(folder: &Path, file: &str, names: &[&str]) -> Certificate {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(names).and_then(|params| params.self_signed(&key)).expect("a certificate");
    let files = Certificate {
        certificate: folder.join(file).with_extension("pem"),
        key: folder.join(file).with_extension("key"),
    };
    std::fs::write(&files.certificate, certificate.pem()).expect("room");
    std::fs::write(&files.key, key.serialize_pem()).expect("room");
    files
}

/// Connects to clients' servers with what it has learnt from earlier connections.
pub(crate) struct TlsClient(TlsConnector);

impl TlsClient {
    /// Trusts these certificates alone.
    pub(crate) fn trusting(certificates: &[&Certificate]) -> Self {
        let mut roots = RootCertStore::empty();
        for files in certificates {
            let certificate = CertificateDer::from_pem_file(&files.certificate).expect("a certificate");
            roots.add(certificate).expect("a certificate");
        }
        Self(TlsConnector::from(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())))
    }

    pub(crate) async fn connect(&self, port: u16, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(("127.0.0.1", port)).await?, name).await
    }

    /// Begins TLS on a connection that is open.
    pub(crate) async fn over(&self, stream: TcpStream, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.0.connect(ServerName::try_from(name.to_owned()).expect("a name"), stream).await
    }
}

/// What the server has shown.
pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone()
}

/// What is in a certificate's file.
pub(crate) fn read(files: &Certificate) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&files.certificate).expect("a certificate")
}
