//! The SASL layer (AMQP 1.0 part 5.3) as far as a server takes part in it.

use bytes::Bytes;

use crate::types::{DecodeError, Fields, ListWriter, Reader, Symbol, decode_descriptor};

/// Mechanisms offered, in the order of the real hub (amqp.md §1.3).
pub const MECHANISMS: [Symbol; 4] = [
    Symbol::from_static("EXTERNAL"),
    Symbol::from_static("MSSBCBS"),
    Symbol::from_static("ANONYMOUS"),
    Symbol::from_static("PLAIN"),
];

/// What a client chose in its sasl-init.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaslChoice {
    /// `ANONYMOUS` or `MSSBCBS`: grants nothing, tokens follow over CBS.
    Anonymous,
    /// `PLAIN`: a name and a password, here a SAS token.
    Plain(PlainCredential),
    /// `EXTERNAL`: the TLS client certificate tells who it is.
    External,
    /// A mechanism that was not offered, or a malformed response.
    Invalid,
}

/// User name and password of the `PLAIN` mechanism (RFC 4616).
#[derive(Clone, PartialEq, Eq)]
pub struct PlainCredential {
    /// Who authenticates: `{policy}@sas.root.{hub}` or `{deviceId}@sas.{hub}`.
    pub authcid: String,
    /// The SAS token.
    pub password: String,
}

impl std::fmt::Debug for PlainCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlainCredential")
            .field("authcid", &self.authcid)
            .field("password", &"***")
            .finish()
    }
}

/// Result of the SASL exchange (AMQP 1.0 5.3.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslCode {
    /// The client may go on.
    Ok,
    /// The credential is not good.
    Auth,
    /// The hub could not tell; the client may try again.
    SysTemp,
}

/// A SASL frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaslFrame {
    /// The server's offer.
    Mechanisms(Vec<Symbol>),
    /// The client's choice.
    Init {
        /// Mechanism chosen.
        mechanism: Symbol,
        /// First response, often absent.
        initial_response: Option<Bytes>,
    },
    /// The server's verdict.
    Outcome {
        /// 0 for success.
        code: u8,
        /// Text of the server.
        additional_data: Option<Bytes>,
    },
}

impl SaslFrame {
    /// Reads the body of a SASL frame.
    ///
    /// # Errors
    /// [`DecodeError`] when it is none of the frames used here.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let code = reader.byte()?;
        if code != 0 {
            return Err(DecodeError::UnexpectedCode {
                code,
                expected: "SASL frame",
            });
        }
        let descriptor = decode_descriptor(&mut reader)?;
        let mut fields = Fields::open(&mut reader)?;
        Ok(match descriptor {
            0x40 => Self::Mechanisms(fields.required("sasl-server-mechanisms")?),
            0x41 => Self::Init {
                mechanism: fields.required("mechanism")?,
                initial_response: fields.optional()?,
            },
            0x44 => Self::Outcome {
                code: fields.required("code")?,
                additional_data: fields.optional()?,
            },
            other => return Err(DecodeError::UnexpectedDescriptor(other)),
        })
    }

    /// Appends the encoding to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Mechanisms(mechanisms) => {
                ListWriter::new(out, 0x40)
                    .put(mechanisms.as_slice())
                    .finish();
            }
            Self::Init {
                mechanism,
                initial_response,
            } => {
                ListWriter::new(out, 0x41)
                    .put(mechanism)
                    .put_option(initial_response.as_ref())
                    .finish();
            }
            Self::Outcome {
                code,
                additional_data,
            } => {
                ListWriter::new(out, 0x44)
                    .put(code)
                    .put_option(additional_data.as_ref())
                    .finish();
            }
        }
    }

    /// Returns the outcome frame of a verdict; success greets as the real hub does.
    pub fn outcome(code: SaslCode) -> Self {
        let (code, text) = match code {
            SaslCode::Ok => (0, Some(Bytes::from_static(b"Welcome!"))),
            SaslCode::Auth => (1, None),
            SaslCode::SysTemp => (4, None),
        };
        Self::Outcome {
            code,
            additional_data: text,
        }
    }
}

/// Reads what a client's sasl-init means.
pub fn read_choice(mechanism: &Symbol, initial_response: Option<&Bytes>) -> SaslChoice {
    match mechanism.as_str() {
        "ANONYMOUS" | "MSSBCBS" => SaslChoice::Anonymous,
        "EXTERNAL" => SaslChoice::External,
        "PLAIN" => initial_response
            .and_then(|response| parse_plain(response))
            .map_or(SaslChoice::Invalid, SaslChoice::Plain),
        _ => SaslChoice::Invalid,
    }
}

/// Splits `[authzid] NUL authcid NUL password`.
fn parse_plain(response: &[u8]) -> Option<PlainCredential> {
    let mut parts = std::str::from_utf8(response).ok()?.splitn(3, '\0');
    let _authzid = parts.next()?;
    let authcid = parts.next()?.to_owned();
    let password = parts.next()?.to_owned();
    (!authcid.is_empty() && !password.contains('\0'))
        .then_some(PlainCredential { authcid, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mechanisms_are_an_array_of_symbols_in_the_real_hubs_order() {
        let mut body = Vec::new();
        SaslFrame::Mechanisms(MECHANISMS.to_vec()).encode(&mut body);
        // amqp.md §1.3: array8 of sym32, `e0 2f 04 b3 …`.
        assert_eq!(
            &body[..10],
            &[0x00, 0x53, 0x40, 0xc0, 0x32, 0x01, 0xe0, 0x2f, 0x04, 0xb3]
        );
        assert_eq!(
            SaslFrame::decode(&body),
            Ok(SaslFrame::Mechanisms(MECHANISMS.to_vec()))
        );
    }

    #[test]
    fn plain_response_is_split_at_its_nul_bytes() {
        let plain = Symbol::from_static("PLAIN");
        let choice =
            |response: &'static [u8]| read_choice(&plain, Some(&Bytes::from_static(response)));
        assert_eq!(
            choice(b"\0service@sas.root.hub1\0SharedAccessSignature sr=x"),
            SaslChoice::Plain(PlainCredential {
                authcid: "service@sas.root.hub1".into(),
                password: "SharedAccessSignature sr=x".into(),
            })
        );
        assert_eq!(choice(b"no nul bytes at all"), SaslChoice::Invalid);
        assert_eq!(choice(b"\0\0password"), SaslChoice::Invalid);
        assert_eq!(choice(b"\0a\0b\0c"), SaslChoice::Invalid);
        assert_eq!(choice(b"\0\xff\0b"), SaslChoice::Invalid);
        assert_eq!(read_choice(&plain, None), SaslChoice::Invalid);
    }

    #[test]
    fn password_is_not_shown_by_debug() {
        let credential = PlainCredential {
            authcid: "a".into(),
            password: "secret".into(),
        };
        assert!(!format!("{credential:?}").contains("secret"));
    }

    #[test]
    fn mechanisms_that_grant_nothing_are_anonymous() {
        for name in ["ANONYMOUS", "MSSBCBS"] {
            assert_eq!(
                read_choice(&Symbol::from_static(name), None),
                SaslChoice::Anonymous
            );
        }
        let external = Symbol::from_static("EXTERNAL");
        assert_eq!(read_choice(&external, None), SaslChoice::External);
        assert_eq!(
            read_choice(&Symbol::from_static("SCRAM"), None),
            SaslChoice::Invalid
        );
    }
}
