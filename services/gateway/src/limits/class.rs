//! Which rate an action of a back-end counts against.

use downlink_domain::access::Action;
use downlink_domain::limits::HubOperation;

/// The class of an action, `None` where none is limited: rights and limits must be within reach of their
/// administrators, and feedback and purges only take away what was let in.
pub const fn class_of(action: Action) -> Option<HubOperation> {
    match action {
        Action::DevicesRead
        | Action::DevicesWrite
        | Action::DevicesDelete
        | Action::RegistryStatisticsRead => Some(HubOperation::Registry),
        Action::TwinsRead => Some(HubOperation::TwinRead),
        Action::TwinsWrite => Some(HubOperation::TwinUpdate),
        Action::InvokeMethod => Some(HubOperation::MethodCall),
        Action::SendMessage => Some(HubOperation::C2dSend),
        Action::JobsRead | Action::JobsWrite | Action::JobsDelete => Some(HubOperation::Job),
        Action::ConfigurationsRead | Action::ConfigurationsWrite | Action::ConfigurationsDelete => {
            Some(HubOperation::Configuration)
        }
        Action::ServiceStatisticsRead
        | Action::ReceiveFeedback
        | Action::PurgeQueue
        | Action::FileNotifications
        | Action::ActAsDevice
        | Action::AdministrationRead
        | Action::AdministrationWrite => None,
    }
}
