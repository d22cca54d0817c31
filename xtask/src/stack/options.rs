//! The words after `up` and `down`.

use std::path::PathBuf;

/// How the two commands are used.
pub(crate) const USAGE: &str =
    "usage: cargo xtask up [--nodes N] [--data DIR] [--sdk-ports] [--release]
       cargo xtask down [--data DIR]

  --nodes N     processes of each service, 1 to 16 [default: 1]
  --data DIR    folder of the stores' data, logs and certificates [default: .downlink-stack]
  --sdk-ports   gateway N listens on 127.0.0.N at 8883, 5671 and 443, where the SDKs expect it;
                otherwise every gateway listens on 127.0.0.1 at free ports
  --release     run optimized programs";

const DEFAULT_DATA: &str = ".downlink-stack";

/// More processes than this do not fit one machine, nor the database's connections.
const MAX_NODES: usize = 16;

/// Where gateways listen for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DoorPorts {
    /// At free ports.
    Free,
    /// Where the SDKs expect them, on addresses of their own.
    Sdk,
}

/// How programs are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quickly.
    Debug,
    /// To run quickly.
    Release,
}

/// What the two commands were told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The folder of the stack.
    pub(crate) data: PathBuf,
    /// Processes of each service.
    pub(crate) nodes: usize,
    /// Where gateways listen.
    pub(crate) ports: DoorPorts,
    /// How programs are built.
    pub(crate) profile: Profile,
}

impl Options {
    /// Reads the words after `up`; `None` if they are no use of it.
    pub(crate) fn for_up(words: &[String]) -> Option<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--data" => options.data = words.next()?.into(),
                "--nodes" => {
                    let nodes = words.next()?.parse().ok()?;
                    options.nodes = (1..=MAX_NODES).contains(&nodes).then_some(nodes)?;
                }
                "--sdk-ports" => options.ports = DoorPorts::Sdk,
                "--release" => options.profile = Profile::Release,
                _ => return None,
            }
        }
        Some(options)
    }

    /// Reads the words after `down`; `None` if they are no use of it.
    pub(crate) fn for_down(words: &[String]) -> Option<Self> {
        match words {
            [] => Some(Self::default()),
            [flag, data] if flag == "--data" => Some(Self {
                data: data.into(),
                ..Self::default()
            }),
            _ => None,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data: crate::cache::workspace().join(DEFAULT_DATA),
            nodes: 1,
            ports: DoorPorts::Free,
            profile: Profile::Debug,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn flags_are_read_in_any_order() {
        let options = Options::for_up(&words("--sdk-ports --nodes 2 --data here")).unwrap();
        assert_eq!(options.nodes, 2);
        assert_eq!(options.data, PathBuf::from("here"));
        assert_eq!(options.ports, DoorPorts::Sdk);
        assert_eq!(options.profile, Profile::Debug);
        assert_eq!(
            Options::for_down(&words("--data here")).unwrap().data,
            PathBuf::from("here")
        );
    }

    #[test]
    fn what_is_not_known_or_out_of_bounds_is_refused() {
        for line in [
            "--nodes",
            "--nodes 0",
            "--nodes 17",
            "--nodes x",
            "two",
            "--data",
        ] {
            assert_eq!(Options::for_up(&words(line)), None, "{line}");
        }
        assert_eq!(Options::for_down(&words("--nodes 2")), None);
    }
}
