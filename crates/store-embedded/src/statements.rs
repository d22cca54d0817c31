//! The statements that work on rows of parameters, by file under `queries/`.

use crate::rows::RowsStatement;

macro_rules! statements {
    ($($name:ident = $file:literal;)*) => {
        $(
            pub(crate) static $name: RowsStatement =
                RowsStatement::new(include_str!(concat!("../queries/", $file, ".sql")));
        )*

        #[cfg(test)]
        pub(crate) fn all() -> Vec<(&'static str, &'static RowsStatement)> {
            vec![$(($file, &$name)),*]
        }
    };
}

statements! {
    COUNT_MESSAGES = "count_messages";
    DELETE_EVENTS = "delete_events";
    DELETE_MESSAGES = "delete_messages";
    DELETE_OWN_CHANGES = "delete_own_changes";
    DELETE_OWN_IDENTITIES = "delete_own_identities";
    DELETE_OWN_MESSAGES = "delete_own_messages";
    DELETE_OWN_TWINS = "delete_own_twins";
    DELETE_SESSIONS = "delete_sessions";
    DROP_CHANGES = "drop_changes";
    FIND_CHANGES = "find_changes";
    END_DEVICE_JOBS = "end_device_jobs";
    FIND_CONNECTIONS = "find_connections";
    FIND_IDENTITIES = "find_identities";
    FIND_RECEIVABLE = "find_receivable";
    FIND_STANDINGS = "find_standings";
    FIND_TARGETS = "find_targets";
    FIND_TWIN_VERSIONS = "find_twin_versions";
    FIND_TWINS = "find_twins";
    FIND_UNDER_DEVICES = "find_under_devices";
    FIND_TWINS_WITH_IDENTITIES = "find_twins_with_identities";
    INSERT_DEVICE_JOBS = "insert_device_jobs";
    INSERT_EVENTS = "insert_events";
    INSERT_FEEDBACK = "insert_feedback";
    INSERT_MESSAGES = "insert_messages";
    KEEP_CHANGES = "keep_changes";
    NOTE_TOLD = "note_told";
    RECORD_ACTIVITY = "record_activity";
    UPDATE_CONNECTIONS = "update_connections";
    UPDATE_STANDINGS = "update_standings";
    WRITE_IDENTITIES = "write_identities";
    WRITE_SESSIONS = "write_sessions";
    WRITE_TWINS = "write_twins";
}

#[cfg(test)]
mod tests;
