//! Members of rows by their names.

use downlink_domain::query::{Field, MAX_PATH, Member, Section};

use crate::ast::Source;

/// One step into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The member of an object.
    Name(String),
    /// The element of an array, the first one is 0.
    Index(usize),
}

/// A member of a row; not empty. Names of the system are in the contract's spelling whatever the
/// query's was, all others as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

/// Members of a twin's document; below those with names of their own the user's names begin.
const TWIN: [(&str, &[&str]); 21] = [
    ("deviceId", &[]),
    ("moduleId", &[]),
    ("etag", &[]),
    ("deviceEtag", &[]),
    ("status", &[]),
    ("statusReason", &[]),
    ("statusUpdateTime", &[]),
    ("connectionState", &[]),
    ("connectionStateUpdatedTime", &[]),
    ("lastActivityTime", &[]),
    ("cloudToDeviceMessageCount", &[]),
    ("authenticationType", &[]),
    (
        "x509Thumbprint",
        &["primaryThumbprint", "secondaryThumbprint"],
    ),
    ("modelId", &[]),
    ("version", &[]),
    ("tags", &[]),
    ("properties", &["desired", "reported"]),
    ("configurations", &[]),
    ("capabilities", &["iotEdge"]),
    ("deviceScope", &[]),
    ("parentScopes", &[]),
];

/// Members of a row about a job on a device (registry.md §5.3).
const JOB: [(&str, &[&str]); 12] = [
    ("deviceId", &[]),
    ("moduleId", &[]),
    ("jobId", &[]),
    ("jobType", &[]),
    ("status", &[]),
    ("startTimeUtc", &[]),
    ("endTimeUtc", &[]),
    ("createdDateTimeUtc", &[]),
    ("lastUpdatedDateTimeUtc", &[]),
    ("outcome", &["deviceMethodResponse"]),
    ("error", &["code", "description"]),
    ("type", &[]),
];

impl Path {
    /// The path of these steps, without the name of the source; `None` when there is none left.
    pub(crate) fn resolve(source: Source, alias: Option<&str>, steps: Vec<Step>) -> Option<Self> {
        let mut steps = strip(source, alias, steps)?;
        let names: &[(&str, &[&str])] = match source {
            Source::Devices | Source::Modules => &TWIN,
            Source::Jobs => &JOB,
        };
        let mut below: &[&str] = &[];
        if let Some(Step::Name(name)) = steps.first_mut() {
            let found = names
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            if let Some((known, members)) = found {
                (*known).clone_into(name);
                below = members;
            }
        }
        if let Some(Step::Name(name)) = steps.get_mut(1) {
            let found = below.iter().find(|known| known.eq_ignore_ascii_case(name));
            if let Some(known) = found {
                (*known).clone_into(name);
            }
        }
        (!steps.is_empty()).then_some(Self(steps))
    }

    /// A path that no text of a query is read into.
    pub(crate) fn internal(root: &str, index: usize) -> Self {
        Self(vec![Step::Name(root.to_owned()), Step::Index(index)])
    }

    /// The steps; at least one, the first one is a name.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The last name on the way, which names the member in a projection.
    pub fn last_name(&self) -> &str {
        let mut names = self.0.iter().rev().filter_map(|step| match step {
            Step::Name(name) => Some(name.as_str()),
            Step::Index(_) => None,
        });
        names.next().unwrap_or_default()
    }

    /// The names, `None` when there are other steps.
    fn names(&self) -> Option<Vec<&str>> {
        let steps = self.0.iter();
        let names = steps.map(|step| match step {
            Step::Name(name) => Some(name.as_str()),
            Step::Index(_) => None,
        });
        names.collect()
    }

    /// What a store knows it as, `None` when it is of no use to a store. Twins alone.
    pub fn field(&self) -> Option<Field> {
        let names = self.names()?;
        let field = match names.as_slice() {
            ["deviceId"] => Field::DeviceId,
            ["moduleId"] => Field::ModuleId,
            ["status"] => Field::Status,
            ["statusReason"] => Field::StatusReason,
            ["statusUpdateTime"] => Field::StatusUpdateTime,
            ["connectionState"] => Field::ConnectionState,
            ["connectionStateUpdatedTime"] => Field::ConnectionStateUpdatedTime,
            ["lastActivityTime"] => Field::LastActivityTime,
            ["authenticationType"] => Field::AuthenticationType,
            ["capabilities", "iotEdge"] => Field::IsEdge,
            ["deviceScope"] => Field::DeviceScope,
            ["modelId"] => Field::ModelId,
            ["version"] => Field::Version,
            ["properties", "desired", "$version"] => Field::DesiredVersion,
            ["properties", "reported", "$version"] => Field::ReportedVersion,
            ["tags", path @ ..] => member(Section::Tags, path)?,
            ["properties", "desired", path @ ..] => member(Section::Desired, path)?,
            ["properties", "reported", path @ ..] => member(Section::Reported, path)?,
            ["configurations", path @ ..] => member(Section::Configurations, path)?,
            _ => return None,
        };
        Some(field)
    }
}

fn member(section: Section, path: &[&str]) -> Option<Field> {
    let is_members = (1..=MAX_PATH).contains(&path.len());
    // `$metadata` and `$version` are no members of the section itself.
    if !is_members || path.first().is_some_and(|name| name.starts_with('$')) {
        return None;
    }
    let path = path.iter().map(|name| (*name).to_owned()).collect();
    Some(Field::Member(Member { section, path }))
}

/// Takes the name of the source or its alias away.
fn strip(source: Source, alias: Option<&str>, mut steps: Vec<Step>) -> Option<Vec<Step>> {
    let prefixes: [&[&str]; 2] = match source {
        Source::Devices => [&["devices"], &["devices"]],
        Source::Modules => [&["devices", "modules"], &["modules"]],
        Source::Jobs => [&["devices", "jobs"], &["jobs"]],
    };
    let alias = alias.as_slice();
    let prefix = prefixes.into_iter().chain([alias]).find(|prefix| {
        let is_same = |(step, name): (&Step, &&str)| match step {
            Step::Name(step) => step.eq_ignore_ascii_case(name),
            Step::Index(_) => false,
        };
        !prefix.is_empty() && steps.len() >= prefix.len() && steps.iter().zip(*prefix).all(is_same)
    });
    steps.drain(..prefix.map_or(0, <[&str]>::len));
    matches!(steps.first(), Some(Step::Name(_))).then_some(steps)
}
