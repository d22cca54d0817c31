//! What the folder holds, judged; and how it is written.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::Path;

use rcgen::{Issuer, KeyPair};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{
    CA_FILE, CA_KEY_FILE, DevCertificateError, RENEW_BEFORE, SERVER_FILE, SERVER_KEY_FILE,
};

/// None of the files is ever near this size.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A stored authority that is valid for a while yet, with its key if that is there and fits.
pub(super) struct Authority {
    pem: Pem,
    text: String,
    key: Option<KeyPair>,
}

impl Authority {
    /// Returns what signs new certificates, if the key is there.
    pub(super) fn into_issuer(self) -> Option<Issuer<'static, KeyPair>> {
        Issuer::from_ca_cert_pem(&self.text, self.key?).ok()
    }
}

/// A stored server certificate that the authority signed and whose key is there.
pub(super) struct Server {
    pub(super) names: BTreeSet<String>,
    /// Valid now and for a while yet.
    pub(super) is_lasting: bool,
}

pub(super) fn read_authority(
    folder: &Path,
    now: OffsetDateTime,
) -> Result<Option<Authority>, DevCertificateError> {
    let Some(text) = read(&folder.join(CA_FILE))? else {
        return Ok(None);
    };
    let key_text = read(&folder.join(CA_KEY_FILE))?;
    let Some(pem) = parse_pem(&text) else {
        return Ok(None);
    };
    let Ok(certificate) = pem.parse_x509() else {
        return Ok(None);
    };
    if !is_lasting(&certificate, now) {
        return Ok(None);
    }
    let key = key_text.and_then(|key_text| fitting_key(&key_text, certificate.public_key()));
    Ok(Some(Authority { pem, text, key }))
}

pub(super) fn read_server(
    folder: &Path,
    authority: &Authority,
    now: OffsetDateTime,
) -> Result<Option<Server>, DevCertificateError> {
    let text = read(&folder.join(SERVER_FILE))?;
    let key_text = read(&folder.join(SERVER_KEY_FILE))?;
    let (Some(text), Some(key_text)) = (text, key_text) else {
        return Ok(None);
    };
    let Some(pem) = parse_pem(&text) else {
        return Ok(None);
    };
    let (Ok(certificate), Ok(ca)) = (pem.parse_x509(), authority.pem.parse_x509()) else {
        return Ok(None);
    };
    let is_ours = certificate.verify_signature(Some(ca.public_key())).is_ok()
        && fitting_key(&key_text, certificate.public_key()).is_some();
    Ok(is_ours.then(|| Server {
        names: names_of(&certificate),
        is_lasting: is_lasting(&certificate, now),
    }))
}

fn parse_pem(text: &str) -> Option<Pem> {
    Pem::iter_from_buffer(text.as_bytes()).next()?.ok()
}

fn is_lasting(certificate: &X509Certificate<'_>, now: OffsetDateTime) -> bool {
    let validity = certificate.validity();
    let (start, end) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    start <= now.unix_timestamp() && now.unix_timestamp() + RENEW_BEFORE.whole_seconds() < end
}

fn fitting_key(text: &str, public_key: &SubjectPublicKeyInfo<'_>) -> Option<KeyPair> {
    let key = KeyPair::from_pem(text).ok()?;
    (key.public_key_raw() == &*public_key.subject_public_key.data).then_some(key)
}

fn names_of(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return BTreeSet::new();
    };
    extension
        .value
        .general_names
        .iter()
        .filter_map(text_of)
        .collect()
}

fn text_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes)
                .ok()
                .map(|bytes| IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    }
}

/// Reads a text file; `None` if it is not there or not text.
fn read(path: &Path) -> Result<Option<String>, DevCertificateError> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file
            .take(MAX_FILE_BYTES)
            .read_to_end(&mut bytes)
            .map_err(at(path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(path)(error)),
    };
    Ok(String::from_utf8(bytes).ok())
}

/// Writes a file that only its owner may read.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), DevCertificateError> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    write(path, text, options)
}

pub(super) fn write_public(path: &Path, text: &str) -> Result<(), DevCertificateError> {
    write(path, text, OpenOptions::new())
}

/// Writes beside the file and renames, so that a crash leaves the old file or the new one.
fn write(path: &Path, text: &str, mut options: OpenOptions) -> Result<(), DevCertificateError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&draft)(error)),
        _ => {}
    }
    let mut file = options
        .write(true)
        .create_new(true)
        .open(&draft)
        .map_err(at(&draft))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(at(&draft))?;
    fs::rename(&draft, path).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DevCertificateError {
    let path = path.to_owned();
    |source| DevCertificateError::File { path, source }
}
