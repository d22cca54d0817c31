//! The rows of the catalogue: name, number, AMQP condition, gRPC status, whether to try again.
//!
//! Longer than other files because it is a table. Codes that this hub never answers by itself are here
//! too: a number from a newer node, or from a test, must still read as what it is.

use super::answers::{AmqpCondition, GrpcStatus, Retry};

codes! {
    /// Anything malformed that has no code of its own.
    GenericBadRequest = 400_000, ArgumentError, InvalidArgument, Never;
    /// `api-version` missing or unknown.
    InvalidProtocolVersion = 400_001, ArgumentError, InvalidArgument, Never;
    /// `top`, or the count of results asked for, is outside its range.
    DeviceInvalidResultCount = 400_002, ArgumentError, InvalidArgument, Never;
    /// Not allowed for the target, or an AMQP `to` that names none.
    InvalidOperation = 400_003, NotAllowed, InvalidArgument, Never;
    /// A field outside its rules.
    ArgumentInvalid = 400_004, ArgumentError, InvalidArgument, Never;
    /// A required field is missing.
    ArgumentNull = 400_005, ArgumentError, InvalidArgument, Never;
    /// JSON that cannot be read.
    IotHubFormatError = 400_006, ArgumentError, InvalidArgument, Never;
    /// A stored record that cannot be read.
    DeviceStorageEntitySerializationError = 400_007, ArgumentError, InvalidArgument, Never;
    /// The blob container of an import or export.
    BlobContainerValidationError = 400_008, ArgumentError, InvalidArgument, Never;
    /// An import that went through with warnings.
    ImportWarningExistsError = 400_009, ArgumentError, InvalidArgument, Never;
    /// A schema version that is none.
    InvalidSchemaVersion = 400_010, ArgumentError, InvalidArgument, Never;
    /// One identity twice in a bulk request.
    DeviceDefinedMultipleTimes = 400_011, ArgumentError, InvalidArgument, Never;
    /// A value that cannot be read.
    DeserializationError = 400_012, ArgumentError, InvalidArgument, Never;
    /// At least one item of a bulk request failed.
    BulkRegistryOperationFailure = 400_013, ArgumentError, InvalidArgument, Never;
    /// File uploads, for which this hub has no storage.
    DefaultStorageEndpointNotConfigured = 400_014, NotAllowed, Unimplemented, Never;
    /// File upload: its id.
    InvalidFileUploadCorrelationId = 400_015, ArgumentError, InvalidArgument, Never;
    /// File upload: its id has run out.
    ExpiredFileUploadCorrelationId = 400_016, ArgumentError, InvalidArgument, Never;
    /// File upload: the storage.
    InvalidStorageEndpoint = 400_017, ArgumentError, InvalidArgument, Never;
    /// A messaging endpoint that is none.
    InvalidMessagingEndpoint = 400_018, ArgumentError, InvalidArgument, Never;
    /// File upload: what is told at its end.
    InvalidFileUploadCompletionStatus = 400_019, ArgumentError, InvalidArgument, Never;
    /// File upload: the storage refused.
    InvalidStorageEndpointOrBlob = 400_020, ArgumentError, InvalidArgument, Never;
    /// The request was called off.
    RequestCanceled = 400_021, ArgumentError, InvalidArgument, Later;
    /// File upload: a property of the storage.
    InvalidStorageEndpointProperty = 400_022, ArgumentError, InvalidArgument, Never;
    /// An etag in a body that is not the stored one.
    EtagDoesNotMatch = 400_023, PreconditionFailed, FailedPrecondition, Never;
    /// The request took too long.
    RequestTimedOut = 400_024, Timeout, DeadlineExceeded, Later;
    /// Asked of a replica.
    UnsupportedOperationOnReplica = 400_025, NotAllowed, FailedPrecondition, Never;
    /// A message of a device that is empty.
    NullMessage = 400_026, ArgumentError, InvalidArgument, Never;
    /// A newer connection took over while a call was in flight.
    ConnectionForcefullyClosedOnNewConnection = 400_027, NotAllowed, Aborted, Never;
    /// The text of an edge scope.
    InvalidDeviceScope = 400_028, ArgumentError, InvalidArgument, Never;
    /// A connection closed by a rehearsed fault.
    ConnectionForcefullyClosedOnFaultInjection = 400_029, DetachForced, Unavailable, Later;
    /// A connection refused by a rehearsed fault.
    ConnectionRejectedOnFaultInjection = 400_030, DetachForced, Unavailable, Later;
    /// How an endpoint is authenticated.
    InvalidEndpointAuthenticationType = 400_031, ArgumentError, InvalidArgument, Never;
    /// An endpoint's identity is off.
    ManagedIdentityNotEnabled = 400_032, ArgumentError, FailedPrecondition, Never;
    /// A key of a policy that is none.
    InvalidPolicyKey = 400_035, ArgumentError, InvalidArgument, Never;
    /// At least one key of a bulk request was not made anew.
    BulkRegenerateDeviceKeyOperationFailure = 400_036, ArgumentError, InvalidArgument, Never;
    /// The test of a route.
    InvalidRouteTestInput = 400_100, ArgumentError, InvalidArgument, Never;
    /// The source of a route.
    InvalidSourceOnRoute = 400_101, ArgumentError, InvalidArgument, Never;
    /// Routes are off.
    RoutingNotEnabled = 400_102, ArgumentError, FailedPrecondition, Never;
    /// The content type or encoding that a route needs.
    InvalidContentEncodingOrType = 400_103, ArgumentError, InvalidArgument, Never;
    /// A module below a module.
    CannotRegisterModuleToModule = 400_301, ArgumentError, InvalidArgument, Never;
    /// Routes of a tenant are off.
    TenantHubRoutingNotEnabled = 400_302, ArgumentError, FailedPrecondition, Never;
    /// A configuration's target condition.
    InvalidConfigurationTargetCondition = 400_401, ArgumentError, InvalidArgument, Never;
    /// A configuration's content.
    InvalidConfigurationContent = 400_402, ArgumentError, InvalidArgument, Never;
    /// A configuration's content never changes.
    CannotModifyImmutableConfigurationContent = 400_403, ArgumentError, InvalidArgument, Never;
    /// A configuration's own metrics.
    InvalidConfigurationCustomMetricsQuery = 400_404, ArgumentError, InvalidArgument, Never;
    /// Plug and Play: an interface.
    InvalidPnPInterfaceDefinition = 400_501, ArgumentError, InvalidArgument, Never;
    /// Plug and Play: desired properties.
    InvalidPnPDesiredProperties = 400_502, ArgumentError, InvalidArgument, Never;
    /// Plug and Play: reported properties.
    InvalidPnPReportedProperties = 400_503, ArgumentError, InvalidArgument, Never;
    /// Plug and Play: the answer to a writable property.
    InvalidPnPWritableReportedProperties = 400_504, ArgumentError, InvalidArgument, Never;
    /// A digital twin's patch is no JSON Patch.
    InvalidDigitalTwinJsonPatch = 400_505, ArgumentError, InvalidArgument, Never;
    /// A digital twin's payload.
    InvalidDigitalTwinPayload = 400_506, ArgumentError, InvalidArgument, Never;
    /// A digital twin's patch.
    InvalidDigitalTwinPatch = 400_507, ArgumentError, InvalidArgument, Never;
    /// A path in a digital twin's patch.
    InvalidDigitalTwinPatchPath = 400_508, ArgumentError, InvalidArgument, Never;
    /// Not let in, with no code of its own.
    GenericUnauthorized = 401_000, UnauthorizedAccess, Unauthenticated, Never;
    /// No hub has this name.
    IotHubNotFound = 401_001, IotHubNotFound, NotFound, Never;
    /// The policy lacks the permission.
    IotHubUnauthorizedAccess = 401_002, UnauthorizedAccess, PermissionDenied, Never;
    /// No credential, or one that does not hold.
    IotHubUnauthorized = 401_003, UnauthorizedAccess, Unauthenticated, Never;
    /// Not of this hub.
    ElasticPoolNotFound = 401_004, NotFound, NotFound, Never;
    /// `$edgeAgent` and `$edgeHub` are not the caller's to change.
    SystemModuleModifyUnauthorizedAccess = 401_100, UnauthorizedAccess, PermissionDenied, Never;
    /// A bearer token that holds, without the right to do this.
    GenericForbidden = 403_000, UnauthorizedAccess, PermissionDenied, Never;
    /// The hub is suspended.
    IotHubSuspended = 403_001, IotHubSuspended, PermissionDenied, Never;
    /// The hub has as many of something as it may.
    IotHubQuotaExceeded = 403_002, QuotaExceeded, ResourceExhausted, Never;
    /// As many imports and exports as may run.
    JobQuotaExceeded = 403_003, QuotaExceeded, ResourceExhausted, Never;
    /// The device's queue is full.
    DeviceMaximumQueueDepthExceeded = 403_004, ResourceLimitExceeded, ResourceExhausted, Never;
    /// As many tokens as one AMQP connection may hold.
    IotHubMaxCbsTokenExceeded = 403_005, QuotaExceeded, ResourceExhausted, Never;
    /// As many file uploads as a device may have.
    DeviceMaximumActiveFileUploadLimitExceeded = 403_006, QuotaExceeded, ResourceExhausted, Never;
    /// The device's queue has as many bytes as it may.
    DeviceMaximumQueueSizeExceeded = 403_007, ResourceLimitExceeded, ResourceExhausted, Never;
    /// A route's endpoint refused.
    RoutingEndpointResponseForbidden = 403_008, UnauthorizedAccess, PermissionDenied, Never;
    /// An expiry in the past or too far away.
    InvalidMessageExpiryTime = 403_009, NotAllowed, InvalidArgument, Never;
    /// A capability that this hub does not offer.
    OperationNotAvailableInCurrentTier = 403_010, NotAllowed, Unimplemented, Never;
    /// The key that data is kept under is gone.
    KeyEncryptionKeyRevoked = 403_011, UnauthorizedAccess, PermissionDenied, Never;
    /// The device is disabled.
    DeviceDisabled = 403_012, UnauthorizedAccess, PermissionDenied, Never;
    /// A model has too many properties.
    DeviceModelMaxPropertiesExceeded = 403_100, QuotaExceeded, ResourceExhausted, Never;
    /// A model has too many properties to search by.
    DeviceModelMaxIndexablePropertiesExceeded = 403_101, QuotaExceeded, ResourceExhausted, Never;
    /// Too many method calls in flight for one device.
    DeviceMaximumInflightMethodExceeded = 403_800, ResourceLimitExceeded, ResourceExhausted, Never;
    /// No such path or thing.
    GenericNotFound = 404_000, NotFound, NotFound, Never;
    /// Not registered, or disabled where only enabled devices are served.
    DeviceNotFound = 404_001, NotFound, NotFound, Never;
    /// No such job.
    JobNotFound = 404_002, NotFound, NotFound, Never;
    /// No such figure.
    QuotaMetricNotFound = 404_004, NotFound, NotFound, Never;
    /// No such property of a message.
    SystemPropertyNotFound = 404_005, NotFound, NotFound, Never;
    /// An AMQP link address that is none of ours.
    AmqpAddressNotFound = 404_006, NotFound, NotFound, Never;
    /// A route's endpoint is gone.
    RoutingEndpointResponseNotFound = 404_007, NotFound, NotFound, Never;
    /// No such certificate.
    CertificateNotFound = 404_008, NotFound, NotFound, Never;
    /// Not of this hub.
    ElasticPoolTenantHubNotFound = 404_009, NotFound, NotFound, Never;
    /// Not a registered module.
    ModuleNotFound = 404_010, NotFound, NotFound, Never;
    /// Not of this hub.
    AzureTableStoreNotFound = 404_011, NotFound, NotFound, Never;
    /// The hub moves.
    IotHubFailingOver = 404_012, DetachForced, Unavailable, Later;
    /// Not offered.
    FeatureNotSupported = 404_013, NotImplemented, Unimplemented, Never;
    /// A digital twin has no such interface.
    DigitalTwinInterfaceNotFound = 404_014, NotFound, NotFound, Never;
    /// Not of this hub.
    QueryStoreClusterNotFound = 404_101, NotFound, NotFound, Never;
    /// The target of a method is offline or answers none.
    DeviceNotOnline = 404_103, NotFound, FailedPrecondition, Never;
    /// The device's connection closed during a call.
    DeviceConnectionClosedRemotely = 404_104, NotFound, Aborted, Never;
    /// No such configuration.
    ConfigurationNotFound = 404_301, NotFound, NotFound, Never;
    /// Not of this hub.
    GroupNotFound = 404_302, NotFound, NotFound, Never;
    /// No such model.
    DigitalTwinModelNotFound = 404_401, NotFound, NotFound, Never;
    /// No such interface.
    InterfaceNameModelNotFound = 404_402, NotFound, NotFound, Never;
    /// A method that the path does not have.
    GenericMethodNotAllowed = 405_000, NotAllowed, Unimplemented, Never;
    /// A job that runs or has ended cannot be called off.
    OperationNotAllowedInCurrentState = 405_102, NotAllowed, FailedPrecondition, Never;
    /// Imports are not offered.
    ImportDevicesNotSupported = 405_103, NotAllowed, Unimplemented, Never;
    /// Bulk requests are not offered.
    BulkAddDevicesNotSupported = 405_104, NotAllowed, Unimplemented, Never;
    /// Something that exists already, with no code of its own.
    GenericConflict = 409_000, NotAllowed, AlreadyExists, Never;
    /// The identity exists already.
    DeviceAlreadyExists = 409_001, DeviceAlreadyExists, AlreadyExists, Never;
    /// A second connection of one device; the older one is closed.
    LinkCreationConflict = 409_002, NotAllowed, Aborted, Never;
    /// A subscription that another one excludes.
    CallbackSubscriptionConflict = 409_003, NotAllowed, Aborted, Never;
    /// The model exists already.
    ModelAlreadyExists = 409_101, NotAllowed, AlreadyExists, Never;
    /// The device is locked.
    DeviceLocked = 409_102, NotAllowed, Aborted, Never;
    /// The device's job exists already.
    DeviceJobAlreadyExists = 409_103, NotAllowed, AlreadyExists, Never;
    /// The job exists already.
    JobAlreadyExists = 409_104, NotAllowed, AlreadyExists, Never;
    /// The module exists already.
    ModuleAlreadyExistsOnDevice = 409_301, NotAllowed, AlreadyExists, Never;
    /// The configuration exists already.
    ConfigurationAlreadyExists = 409_401, NotAllowed, AlreadyExists, Never;
    /// A configuration is being applied to the device.
    ApplyConfigurationAlreadyInProgressOnDevice = 409_402, NotAllowed, Aborted, Never;
    /// The digital twin's model exists already.
    DigitalTwinModelAlreadyExists = 409_501, NotAllowed, AlreadyExists, Never;
    /// The digital twin's model exists with another type.
    DigitalTwinModelExistsWithOtherModelType = 409_502, NotAllowed, AlreadyExists, Never;
    /// The interface's model exists already.
    InterfaceNameModelAlreadyExists = 409_503, NotAllowed, AlreadyExists, Never;
    /// A condition of the request does not hold.
    GenericPreconditionFailed = 412_000, PreconditionFailed, FailedPrecondition, Never;
    /// A stale or missing etag.
    PreconditionFailed = 412_001, PreconditionFailed, FailedPrecondition, Never;
    /// Settled after the lock was lost.
    DeviceMessageLockLost = 412_002, MessageLockLost, FailedPrecondition, Never;
    /// A job's condition does not hold.
    JobRunPreconditionFailed = 412_003, PreconditionFailed, FailedPrecondition, Never;
    /// Messages are in flight on the link.
    InflightMessagesInLink = 412_004, PreconditionFailed, FailedPrecondition, Never;
    /// A body above what the door takes.
    GenericRequestEntityTooLarge = 413_000, MessageSizeExceeded, InvalidArgument, Never;
    /// A body above its limit.
    MessageTooLarge = 413_001, MessageSizeExceeded, InvalidArgument, Never;
    /// More identities in a bulk request than it may have.
    TooManyDevices = 413_002, ArgumentError, InvalidArgument, Never;
    /// As many modules as a device may have.
    TooManyModulesOnDevice = 413_003, QuotaExceeded, ResourceExhausted, Never;
    /// As many configurations as a hub may have.
    ConfigurationCountLimitExceeded = 413_101, QuotaExceeded, ResourceExhausted, Never;
    /// As many models as a hub may have.
    DigitalTwinModelCountLimitExceeded = 413_201, QuotaExceeded, ResourceExhausted, Never;
    /// As many interface models as a hub may have.
    InterfaceNameCompressionModelCountLimitExceeded = 413_202, QuotaExceeded, ResourceExhausted, Never;
    /// A content type that the path does not take.
    GenericUnsupportedMediaType = 415_000, ArgumentError, InvalidArgument, Never;
    /// Data of another type.
    IncompatibleDataType = 415_101, ArgumentError, InvalidArgument, Never;
    /// Too many requests, with no code of its own.
    GenericTooManyRequests = 429_000, DeviceContainerThrottled, ResourceExhausted, Later;
    /// A rate above its limit.
    ThrottlingException = 429_001, DeviceContainerThrottled, ResourceExhausted, Later;
    /// As many requests wait as may wait.
    ThrottleBacklogLimitExceeded = 429_002, DeviceContainerThrottled, ResourceExhausted, Later;
    /// The request waited too long for its turn.
    ThrottlingBacklogTimeout = 429_003, DeviceContainerThrottled, ResourceExhausted, Later;
    /// As many jobs as may run.
    ThrottlingMaxActiveJobCountExceeded = 429_004, DeviceContainerThrottled, ResourceExhausted, Later;
    /// One device too often.
    DeviceThrottlingLimitExceeded = 429_005, DeviceContainerThrottled, ResourceExhausted, Later;
    /// The caller went away.
    ClientClosedRequest = 499_000, NotAllowed, Cancelled, Never;
    /// A fault of the hub.
    ServerError = 500_001, InternalError, Internal, Later;
    /// The job was called off.
    JobCancelled = 500_002, InternalError, Internal, Never;
    /// The hub did not finish in time.
    GenericTimeout = 500_008, Timeout, Internal, Later;
    /// A limit that is none.
    InvalidThrottleParameter = 500_009, InternalError, Internal, Never;
    /// The repository of models.
    ModelRepoEndpointError = 500_301, InternalError, Internal, Never;
    /// A model that was not found there.
    ResolutionError = 500_302, InternalError, Internal, Never;
    /// Credentials of the hub itself.
    UnableToFetchCredentials = 500_401, InternalError, Internal, Never;
    /// Facts about the tenant.
    UnableToFetchTenantInfo = 500_402, InternalError, Internal, Never;
    /// An identity to be shared.
    UnableToShareIdentity = 500_403, InternalError, Internal, Never;
    /// Plug and Play: discovery.
    UnableToExpandDiscoveryInfo = 500_501, InternalError, Internal, Never;
    /// Plug and Play: components.
    UnableToExpandComponentInfo = 500_502, InternalError, Internal, Never;
    /// Plug and Play: components.
    UnableToCompressComponentInfo = 500_503, InternalError, Internal, Never;
    /// Plug and Play: discovery.
    UnableToCompressDiscoveryInfo = 500_504, InternalError, Internal, Never;
    /// Plug and Play: discovery of nothing.
    OrphanDiscoveryDocument = 500_505, InternalError, Internal, Never;
    /// A device answered something unusable.
    GenericBadGateway = 502_000, InternalError, Internal, Never;
    /// Unavailable, with no code of its own.
    GenericServiceUnavailable = 503_000, Timeout, Unavailable, Later;
    /// A service or a store cannot be reached, try again.
    ServiceUnavailable = 503_001, Timeout, Unavailable, Later;
    /// A part of the hub has no owner now.
    PartitionNotFound = 503_003, Timeout, Unavailable, Later;
    /// The hub does not come up.
    IotHubActivationFailed = 503_004, Timeout, Unavailable, Later;
    /// The hub is busy.
    ServerBusy = 503_005, Timeout, Unavailable, Later;
    /// The hub is being restored.
    IotHubRestoring = 503_006, Timeout, Unavailable, Later;
    /// Receiving links are opened too often.
    ReceiveLinkOpensThrottled = 503_008, DeviceContainerThrottled, ResourceExhausted, Later;
    /// The connection cannot be had now.
    ConnectionUnavailable = 503_101, Timeout, Unavailable, Later;
    /// The device cannot be had now.
    DeviceUnavailable = 503_102, Timeout, Unavailable, Later;
    /// The configuration cannot be had now.
    ConfigurationNotAvailable = 503_201, Timeout, Unavailable, Later;
    /// Not of this hub.
    GroupNotAvailable = 503_202, Timeout, Unavailable, Later;
    /// Not of this hub.
    HostingServiceNotAvailable = 503_301, Timeout, Unavailable, Later;
    /// No answer in time, with no code of its own.
    GenericGatewayTimeout = 504_000, Timeout, DeadlineExceeded, Later;
    /// The device did not answer in time.
    GatewayTimeout = 504_101, Timeout, DeadlineExceeded, Later;
}
