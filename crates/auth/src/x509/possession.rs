//! Proof that whoever registered an authority holds its key (auth.md §5).

use rustls_pki_types::CertificateDer;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert};

use super::{Certificate, CertificateError};

/// Checks that `proof`, a certificate, was signed by the key of `authority`, bears `code` as the
/// common name of its subject, and lives at `now_seconds`.
///
/// Only the authority's own signature counts, no path through others. Any version of X.509 will
/// do: what tools make without being told of extensions is version 1.
///
/// # Errors
/// [`CertificateError`].
pub fn prove_possession(
    authority: &[u8],
    proof: &[u8],
    code: &str,
    now_seconds: i64,
) -> Result<(), CertificateError> {
    let proof = Certificate::parse(proof)?;
    proof.check_common_name(code, None)?;
    proof.check_dates(now_seconds)?;
    let issuer = Certificate::parse(authority)?;
    let (proof, subject) = (proof.inner(), issuer.inner().subject());
    if proof.issuer().as_raw() != subject.as_raw() {
        return Err(CertificateError::UnknownAuthority);
    }
    let authority = CertificateDer::from(authority);
    let holder = EndEntityCert::try_from(&authority).map_err(|_| CertificateError::Form)?;
    // The algorithm is named within what is signed and beside it; both must agree.
    if proof.signature_algorithm != proof.tbs_certificate.signature {
        return Err(CertificateError::Signature);
    }
    let named = proof.signature_algorithm.algorithm.as_bytes();
    let is_named = |id: &[u8]| id.get(2..).is_some_and(|oid| oid.starts_with(named));
    let holds = ALL_VERIFICATION_ALGS
        .iter()
        .filter(|algorithm| is_named(algorithm.signature_alg_id().as_ref()))
        .any(|algorithm| {
            let signature = &proof.signature_value.data;
            let signed = proof.tbs_certificate.as_ref();
            holder
                .verify_signature(*algorithm, signed, signature)
                .is_ok()
        });
    if holds {
        Ok(())
    } else {
        Err(CertificateError::Signature)
    }
}
