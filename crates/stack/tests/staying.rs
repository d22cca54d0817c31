//! What stays is ended by who finds its folder, and nothing else is.

#![expect(clippy::unwrap_used, reason = "in a test a failed step ends the test")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use downlink_stack::Signal;
use downlink_stack::staying::StayingStack;

/// A folder whose processes are killed when this process is gone, as nobody could end them then.
struct Folder {
    path: PathBuf,
    watch: Child,
}

/// Waits for the process `$0` to be gone, then kills what is noted in `$1` and removes it.
const WATCH: &str = r#"
while kill -0 "$0" 2>/dev/null && [ -e "$1" ]; do sleep 0.5; done
if [ -e "$1/processes" ]; then
  while read -r name pid rest; do [ -n "$pid" ] && kill -KILL "$pid"; done < "$1/processes"
fi
rm -rf -- "$1"
"#;

impl Folder {
    fn new(name: &str) -> Self {
        let own = std::process::id();
        let path = std::env::temp_dir().join(format!("downlink-staying-{own}-{name}"));
        std::fs::create_dir(&path).unwrap();
        let watch = Command::new("setsid")
            .args(["sh", "-c", WATCH, &own.to_string()])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { path, watch }
    }

    fn open(&self) -> StayingStack {
        StayingStack::open(&self.path).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Ok(mut stack) = StayingStack::open(&self.path) {
            let _ = stack.end(|_, _| true);
        }
        let _ = std::fs::remove_dir_all(&self.path);
        let _ = self.watch.wait();
    }
}

fn words(line: &[&str]) -> Vec<OsString> {
    line.iter().map(OsString::from).collect()
}

fn pid_of(folder: &Folder, name: &str) -> String {
    let notes = std::fs::read_to_string(folder.path.join("processes")).unwrap();
    let line = notes.lines().find(|line| line.starts_with(name)).unwrap();
    line.split(' ').nth(1).unwrap().to_owned()
}

fn exists(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn programs_stay_and_are_ended_by_the_next_holder_of_the_folder() {
    let folder = Folder::new("programs");
    let environment = [(OsString::from("GREETING"), OsString::from("hello"))];
    let greet = words(&["sh", "-c", "echo $GREETING; exec sleep 600"]);
    let mut first = folder.open();
    for name in ["one", "two"] {
        first
            .start(name, &greet, &environment, Signal::Term)
            .unwrap();
    }
    let pid = pid_of(&folder, "two");
    drop(first);
    assert!(exists(&pid));

    let mut second = folder.open();
    assert_eq!(second.running(), ["one", "two"]);
    assert_eq!(second.end(|_, _| false).unwrap(), ["two", "one"]);
    assert!(!exists(&pid));
    assert!(second.running().is_empty());
    assert_eq!(second.log_tail("one"), "hello");
    assert!(second.end(|_, _| false).unwrap().is_empty());
}

#[test]
fn a_folder_has_one_holder() {
    let folder = Folder::new("holder");
    let holder = folder.open();
    let refused = StayingStack::open(&folder.path).unwrap_err().to_string();
    assert!(
        refused.starts_with("another program is starting or ending"),
        "{refused}"
    );
    drop(holder);
    folder.open();
}

#[test]
fn stores_keep_their_ports_and_data_from_one_start_to_the_next() {
    let folder = Folder::new("stores");
    let mut stack = folder.open();
    let redis = stack.start_redis().unwrap();
    let postgres = stack.start_postgres().unwrap();
    let ask = |arguments: &[&str]| {
        let output = Command::new("redis-cli")
            .args(["-u", &redis])
            .args(arguments)
            .output();
        String::from_utf8(output.unwrap().stdout)
            .unwrap()
            .trim()
            .to_owned()
    };
    let sql = |statement| {
        let output = Command::new("psql")
            .args(["-XAtqc", statement, &postgres])
            .output();
        String::from_utf8(output.unwrap().stdout)
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(ask(&["SET", "key", "value"]), "OK");
    sql("CREATE TABLE t AS SELECT 7 AS n");
    assert_eq!(sql("SHOW fsync"), "on");
    stack.end(|_, _| true).unwrap();
    assert_eq!(ask(&["GET", "key"]), "");
    drop(stack);

    let mut stack = folder.open();
    assert_eq!(stack.start_redis().unwrap(), redis);
    assert_eq!(stack.start_postgres().unwrap(), postgres);
    assert_eq!(ask(&["GET", "key"]), "value");
    assert_eq!(sql("SELECT n FROM t"), "7");
}
