use std::{borrow::Cow, fmt};

/// A symbolic value: ASCII text from a closed or well-known set, such as an error condition.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(Cow<'static, str>);

impl Symbol {
    /// Wraps a constant; `text` must be ASCII, which every caller's literal is.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// Returns the symbol of `text`, or `None` when it is not ASCII.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        text.is_ascii().then_some(Self(Cow::Owned(text)))
    }

    /// Returns the text of the symbol.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Turns the symbol into its text.
    pub fn into_string(self) -> String {
        self.0.into_owned()
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ":{}", self.0)
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for Symbol {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Symbol {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}
