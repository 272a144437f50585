//! One order, from its challenges to its certificate.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, Error, Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use tokio_rustls::rustls::crypto::aws_lc_rs::sign::any_supported_type;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::{AcmeChallenge, AcmeOptions};
use crate::server::net::tls::challenges::Challenges;

/// How long the authority may take for each step.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).timeout(Duration::from_secs(120));

/// Orders a certificate, and answers it with those that lead to its authority, and its key, in PEM.
pub(super) async fn order(
    account: &Account,
    options: &AcmeOptions,
    replaces: Option<CertificateIdentifier<'_>>,
    challenges: &Challenges,
) -> Result<(String, String), Error> {
    let identifiers: Vec<_> = options.domains.iter().map(|domain| Identifier::Dns(domain.clone())).collect();
    let mut order = begin(account, &identifiers, replaces).await?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let missing = Error::Unsupported("the challenge that was chosen with --acme-challenge");
        let mut challenge = authorization.challenge(options.challenge.kind()).ok_or(missing)?;
        let key = challenge.key_authorization();
        match options.challenge {
            AcmeChallenge::TlsAlpn01 => {
                let name = challenge.identifier().to_string();
                challenges.add_certificate(name.clone(), certificate(&name, key.digest().as_ref())?);
            }
            AcmeChallenge::Http01 => challenges.add_file(challenge.token.clone(), key.as_str().to_owned()),
        }
        challenge.set_ready().await?;
    }
    if order.poll_ready(&PATIENCE).await? != OrderStatus::Ready {
        return Err(refusal(&mut order).await);
    }
    let key = order.finalize().await?;
    Ok((order.poll_certificate(&PATIENCE).await?, key))
}

async fn begin(
    account: &Account,
    identifiers: &[Identifier],
    replaces: Option<CertificateIdentifier<'_>>,
) -> Result<Order, Error> {
    let new = NewOrder::new(identifiers);
    let Some(replaces) = replaces else { return account.new_order(&new).await };
    // An authority may not know the certificate before, or not the extension.
    match account.new_order(&NewOrder::new(identifiers).replaces(replaces)).await {
        Err(Error::Api(_) | Error::Unsupported(_)) => account.new_order(&new).await,
        ordered => ordered,
    }
}

/// Why the authority does not issue the certificate.
async fn refusal(order: &mut Order) -> Error {
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        if let Some(problem) = authorization.challenges.iter().find_map(|challenge| challenge.error.clone()) {
            return Error::Api(problem);
        }
    }
    order.state().error.clone().map_or(Error::Str("a reason for the refusal"), Error::Api)
}

/// The certificate that proves a name (RFC 8737, 3).
fn certificate(name: &str, digest: &[u8]) -> Result<CertifiedKey, Error> {
    let failed = |error: rcgen::Error| Error::Other(Box::new(error));
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(failed)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = any_supported_type(&key).map_err(|error| Error::Other(Box::new(error)))?;
    // Without a look at the certificate: nobody but an authority knows its critical extension.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}
