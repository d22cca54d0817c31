//! A development certificate authority and a server certificate under it, kept in a folder.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::{Duration, OffsetDateTime};

use self::stored::{Authority, read_authority, read_server};

mod stored;
#[cfg(test)]
mod tests;

const CA_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key";
const SERVER_FILE: &str = "server.pem";
const SERVER_KEY_FILE: &str = "server.key";

const CA_VALIDITY: Duration = Duration::days(3_650);
const SERVER_VALIDITY: Duration = Duration::days(365);
/// A certificate that has less than this to go is issued again at the next start.
const RENEW_BEFORE: Duration = Duration::days(30);
/// Certificates start a day early, for devices whose clock is behind.
const CLOCK_TOLERANCE: Duration = Duration::DAY;
/// More names than this are a mistake, and a certificate that some clients refuse.
const MAX_NAMES: usize = 100;

/// What [`ensure`] found or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issued {
    /// The stored certificate still serves.
    Nothing,
    /// The authority signed a new server certificate: a name was added, or the old one nears its end.
    Server,
    /// A new authority was made, and a server certificate by it; clients must be given the new `ca.pem`.
    AuthorityAndServer,
}

/// The files of a development certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevCertificate {
    /// The authority's certificate, which clients must trust.
    pub ca_file: PathBuf,
    /// The server's certificate.
    pub certificate_file: PathBuf,
    /// The server's private key, readable by its owner only.
    pub key_file: PathBuf,
    /// What had to be made.
    pub issued: Issued,
}

/// Why there is no development certificate.
#[derive(Debug, thiserror::Error)]
pub enum DevCertificateError {
    /// A name is neither a host name nor an IP address.
    #[error("{name:?} is neither a host name nor an ip address")]
    BadName {
        /// The name as given.
        name: String,
    },
    /// More than a hundred names.
    #[error("{count} names are more than a certificate should hold ({MAX_NAMES})")]
    TooManyNames {
        /// How many were given.
        count: usize,
    },
    /// A file of the folder cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The time lies outside the years a certificate can name.
    #[error("{now_seconds} s is not a time a certificate can name")]
    BadTime {
        /// Seconds since the Unix epoch.
        now_seconds: i64,
    },
    /// The certificate could not be made.
    #[error("cannot make a certificate")]
    Issue(#[from] rcgen::Error),
}

/// Makes sure that `folder` holds a server certificate for localhost, 127.0.0.1, `::1` and `extra_names`.
///
/// What serves is kept, so clients that trust the authority go on trusting it; a new server certificate comes from
/// the stored authority. The authority is valid for ten years, the server for one; either is renewed 30 days before
/// its end. Keys are ECDSA P-256, their files readable by their owner only. `now_seconds` counts from the Unix epoch.
///
/// # Errors
/// [`DevCertificateError`], naming the file or the name. Files that cannot be understood are not an error: they are
/// replaced.
pub fn ensure(
    folder: &Path,
    extra_names: &[String],
    now_seconds: i64,
) -> Result<DevCertificate, DevCertificateError> {
    let mut names = all_names(extra_names)?;
    let now = OffsetDateTime::from_unix_timestamp(now_seconds)
        .map_err(|_| DevCertificateError::BadTime { now_seconds })?;
    let authority = read_authority(folder, now)?;
    let server = match &authority {
        Some(authority) => read_server(folder, authority, now)?,
        None => None,
    };
    if let Some(server) = server {
        if server.is_lasting && names.is_subset(&server.names) {
            return Ok(certificate(folder, Issued::Nothing));
        }
        // Names once given stay: a start without them must not break clients that use them.
        names.extend(server.names);
        check_count(&names)?;
    }
    let (signer, issued) = match authority.and_then(Authority::into_issuer) {
        Some(signer) => (signer, Issued::Server),
        None => (make_authority(folder, now)?, Issued::AuthorityAndServer),
    };
    issue_server(folder, &signer, &names, now)?;
    Ok(certificate(folder, issued))
}

fn certificate(folder: &Path, issued: Issued) -> DevCertificate {
    DevCertificate {
        ca_file: folder.join(CA_FILE),
        certificate_file: folder.join(SERVER_FILE),
        key_file: folder.join(SERVER_KEY_FILE),
        issued,
    }
}

/// Returns every name the certificate must hold, in one spelling each.
fn all_names(extra_names: &[String]) -> Result<BTreeSet<String>, DevCertificateError> {
    let mut names: BTreeSet<String> = ["localhost", "127.0.0.1", "::1"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    for name in extra_names {
        let spelling =
            canonical(name).ok_or_else(|| DevCertificateError::BadName { name: name.clone() })?;
        names.insert(spelling);
    }
    check_count(&names)?;
    Ok(names)
}

fn check_count(names: &BTreeSet<String>) -> Result<(), DevCertificateError> {
    if names.len() > MAX_NAMES {
        return Err(DevCertificateError::TooManyNames { count: names.len() });
    }
    Ok(())
}

/// Returns an IP address in its shortest form or a host name (RFC 1123, `*` allowed as its first label) in lower case.
fn canonical(name: &str) -> Option<String> {
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Some(ip.to_string());
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let host = name.strip_prefix("*.").unwrap_or(name);
    let is_host = name.len() <= 253 && host.split('.').all(is_label);
    is_host.then(|| name.to_ascii_lowercase())
}

fn make_authority(
    folder: &Path,
    now: OffsetDateTime,
) -> Result<Issuer<'static, KeyPair>, DevCertificateError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    // A part of the key in the name keeps two development authorities apart in one trust store.
    let tail = key
        .public_key_raw()
        .last_chunk()
        .copied()
        .unwrap_or_default();
    let tag = u32::from_be_bytes(tail);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(
        DnType::CommonName,
        format!("Downlink development CA {tag:08x}"),
    );
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - CLOCK_TOLERANCE;
    params.not_after = now + CA_VALIDITY;
    let certificate = params.self_signed(&key)?;
    stored::write_private(&folder.join(CA_KEY_FILE), &key.serialize_pem())?;
    stored::write_public(&folder.join(CA_FILE), &certificate.pem())?;
    Ok(Issuer::new(params, key))
}

fn issue_server(
    folder: &Path,
    issuer: &Issuer<'_, KeyPair>,
    names: &BTreeSet<String>,
    now: OffsetDateTime,
) -> Result<(), DevCertificateError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Downlink development server");
    for name in names {
        params.subject_alt_names.push(match name.parse() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        });
    }
    // Written out, rather than left away, it brings the subject key identifier along, which strict verifiers want.
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - CLOCK_TOLERANCE;
    params.not_after = now + SERVER_VALIDITY;
    let certificate = params.signed_by(&key, issuer)?;
    // Key first: if the second write never happens, the pair does not match and is made again.
    stored::write_private(&folder.join(SERVER_KEY_FILE), &key.serialize_pem())?;
    stored::write_public(&folder.join(SERVER_FILE), &certificate.pem())
}
