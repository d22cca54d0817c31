//! The scripts: each one atomic step on the keys of one slot.

use redis::{Cmd, Pipeline, Script, cmd};

/// One script, known to a server by the hash of its text.
pub(crate) struct StoredScript {
    text: &'static str,
    hash: String,
}

impl StoredScript {
    fn new(text: &'static str) -> Self {
        Self {
            text,
            hash: Script::new(text).get_hash().to_owned(),
        }
    }

    /// A call of the script on `keys`, which lie in one slot; arguments follow.
    pub(crate) fn call(&self, keys: &[&str]) -> Cmd {
        let mut command = cmd("EVALSHA");
        command.arg(&self.hash).arg(keys.len()).arg(keys);
        command
    }
}

/// All scripts.
pub(crate) struct Scripts {
    pub(crate) connect: StoredScript,
    pub(crate) subscribe: StoredScript,
    pub(crate) disconnect: StoredScript,
    pub(crate) restore: StoredScript,
    pub(crate) renew: StoredScript,
    pub(crate) release: StoredScript,
    pub(crate) live: StoredScript,
    pub(crate) rates: StoredScript,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            connect: StoredScript::new(include_str!("scripts/connect.lua")),
            subscribe: StoredScript::new(include_str!("scripts/subscribe.lua")),
            disconnect: StoredScript::new(include_str!("scripts/disconnect.lua")),
            restore: StoredScript::new(include_str!("scripts/restore.lua")),
            renew: StoredScript::new(include_str!("scripts/renew.lua")),
            release: StoredScript::new(include_str!("scripts/release.lua")),
            live: StoredScript::new(include_str!("scripts/live.lua")),
            rates: StoredScript::new(include_str!("scripts/rates.lua")),
        }
    }

    /// Makes the scripts known to a server.
    pub(crate) fn load_into(&self, pipeline: &mut Pipeline) {
        let all = [
            &self.connect,
            &self.subscribe,
            &self.disconnect,
            &self.restore,
            &self.renew,
            &self.release,
            &self.live,
            &self.rates,
        ];
        for script in all {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(script.text);
        }
    }
}
