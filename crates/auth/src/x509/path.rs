//! The path from a device's certificate to a registered authority (auth.md §5,
//! `certificateAuthority`; RFC 5280 §6).

use std::collections::HashMap;

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, Error, KeyUsage, VerifiedPath, anchor_from_trusted_cert,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Certificate, CertificateError, MAX_CERTIFICATE_BYTES, MAX_INTERMEDIATES};
use crate::chain::ClientChain;

/// Certificates of one subject that are looked at: an authority and its renewal. It keeps a client
/// that sends certificates which all bear one name from having every order of them tried.
const MAX_OF_ONE_SUBJECT: usize = 2;

/// A registered authority whose devices are believed now.
#[derive(Clone, Copy, Debug)]
pub struct TrustedAuthority<'a> {
    /// Its certificate, DER.
    pub certificate: &'a [u8],
    /// Last second of its life.
    pub not_after_seconds: i64,
}

/// Which authority a chain leads to, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchored {
    /// Index of the authority among those given.
    pub authority: usize,
    /// When the first certificate of the path, the authority's included, ends its life.
    pub not_after_seconds: i64,
}

/// Checks that a client's certificate names the identity it claims to be, lives, and was signed,
/// perhaps through those it sent along, by one of `authorities` for use by clients.
///
/// Where several authorities have one name and key, the one that lives longest counts.
///
/// # Errors
/// [`CertificateError`].
pub fn verify_path(
    chain: &ClientChain,
    (device_id, module_id): (&str, Option<&str>),
    authorities: &[TrustedAuthority<'_>],
    now_seconds: i64,
) -> Result<Anchored, CertificateError> {
    let leaf = Certificate::parse(chain.leaf())?;
    leaf.check_common_name(device_id, module_id)?;
    leaf.check_dates(now_seconds)?;
    let intermediates = intermediates_of(chain);
    let ders: Vec<_> = by_life(authorities)
        .map(|(index, authority)| (index, CertificateDer::from(authority.certificate)))
        .collect();
    let (indices, anchors): (Vec<usize>, Vec<TrustAnchor<'_>>) = ders
        .iter()
        .filter_map(|(index, der)| Some((*index, anchor_from_trusted_cert(der).ok()?)))
        .unzip();
    let index_of = |path: &VerifiedPath<'_>| {
        let anchor = path.anchor();
        let at = anchors.iter().position(|other| std::ptr::eq(other, anchor));
        at.and_then(|at| indices.get(at).copied())
    };
    let check = |path: &VerifiedPath<'_>| {
        let index = index_of(path).ok_or(Error::UnknownIssuer)?;
        check_rights(path, authorities[index].certificate)
    };
    let end_entity = EndEntityCert::try_from(chain.leaf()).map_err(|_| CertificateError::Form)?;
    let seconds = u64::try_from(now_seconds).unwrap_or_default();
    let path = end_entity
        .verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            &intermediates,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)),
            KeyUsage::client_auth(),
            None,
            Some(&check),
        )
        .map_err(|error| cause_of(&error))?;
    let authority = index_of(&path).ok_or(CertificateError::UnknownAuthority)?;
    let above = path.intermediate_certificates();
    let first_end = above
        .filter_map(|certificate| {
            let der = certificate.der();
            Certificate::parse(&der)
                .ok()
                .map(|read| read.not_after_seconds())
        })
        .chain([
            leaf.not_after_seconds(),
            authorities[authority].not_after_seconds,
        ])
        .min();
    Ok(Anchored {
        authority,
        not_after_seconds: first_end.unwrap_or(now_seconds),
    })
}

/// The authorities with their indices, the longest life first.
fn by_life<'a>(
    authorities: &'a [TrustedAuthority<'a>],
) -> impl Iterator<Item = (usize, &'a TrustedAuthority<'a>)> {
    let mut ordered: Vec<_> = authorities.iter().enumerate().collect();
    ordered.sort_by_key(|(_, authority)| std::cmp::Reverse(authority.not_after_seconds));
    ordered.into_iter()
}

/// What a client sent above its own certificate, as far as it is looked at.
fn intermediates_of(chain: &ClientChain) -> Vec<CertificateDer<'_>> {
    let mut seen: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut kept = Vec::new();
    for der in chain.intermediates().iter().take(MAX_INTERMEDIATES) {
        if der.len() > MAX_CERTIFICATE_BYTES {
            continue;
        }
        let Ok(certificate) = Certificate::parse(der) else {
            continue;
        };
        let subject = certificate.inner().subject().as_raw().to_vec();
        let of_subject = seen.entry(subject).or_default();
        if *of_subject < MAX_OF_ONE_SUBJECT {
            *of_subject += 1;
            kept.push(CertificateDer::from(der.as_ref()));
        }
    }
    kept
}

/// Checks what webpki leaves open: that those above the leaf may sign by their key usage, and that
/// the authority allows a path of this length. Another path may still hold when this one does not.
fn check_rights(path: &VerifiedPath<'_>, authority: &[u8]) -> Result<(), Error> {
    let mut below = 0_u32;
    for intermediate in path.intermediate_certificates() {
        let der = intermediate.der();
        let (_, read) = X509Certificate::from_der(&der).map_err(|_| Error::BadDer)?;
        if !may_sign(&read) {
            return Err(Error::EndEntityUsedAsCa);
        }
        if read.subject() != read.issuer() {
            below += 1;
        }
    }
    let (_, authority) = X509Certificate::from_der(authority).map_err(|_| Error::BadDer)?;
    let constraints = authority.basic_constraints().ok().flatten();
    let most = constraints.and_then(|constraints| constraints.value.path_len_constraint);
    if most.is_some_and(|most| below > most) {
        return Err(Error::PathLenConstraintViolated);
    }
    Ok(())
}

/// Whether the key usage of a certificate, if it names any, lets it sign others.
pub(super) fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    }
}

fn cause_of(error: &Error) -> CertificateError {
    match error {
        Error::UnknownIssuer => CertificateError::UnknownAuthority,
        Error::CertExpired { .. }
        | Error::CertNotValidYet { .. }
        | Error::InvalidCertValidity
        | Error::BadDerTime => CertificateError::PathDates,
        Error::CaUsedAsEndEntity => CertificateError::AuthorityAsDevice,
        Error::EndEntityUsedAsCa => CertificateError::NotAnAuthority,
        Error::EmptyEkuExtension | Error::RequiredEkuNotFoundContext(_) => CertificateError::Usage,
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => {
            CertificateError::PathLength
        }
        Error::NameConstraintViolation
        | Error::MalformedNameConstraint
        | Error::InvalidNetworkMaskConstraint => CertificateError::NameConstraints,
        Error::MaximumSignatureChecksExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => CertificateError::TooMuchWork,
        Error::InvalidSignatureForPublicKey
        | Error::SignatureAlgorithmMismatch
        | Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => CertificateError::Signature,
        _ => CertificateError::Form,
    }
}
