//! Signals, by the names that shells and notes use.

/// A signal that can be sent to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `SIGTERM`: please end.
    Term,
    /// `SIGINT`: please end, from a keyboard.
    Int,
    /// `SIGQUIT`: end now (Postgres' immediate shutdown).
    Quit,
    /// `SIGKILL`: ended by the kernel.
    Kill,
    /// `SIGSTOP`: stand still.
    Stop,
    /// `SIGCONT`: go on.
    Cont,
    /// `SIGHUP`: read the configuration again.
    Hup,
}

impl Signal {
    const ALL: [Self; 7] = [
        Self::Term,
        Self::Int,
        Self::Quit,
        Self::Kill,
        Self::Stop,
        Self::Cont,
        Self::Hup,
    ];

    /// The signal that [`Signal::name`] calls `name`.
    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
            Self::Hup => "HUP",
        }
    }
}
