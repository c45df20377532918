//! The SDK's client, opened with what the environment says, and what its errors mean here.
//! Invariant: every call has a time limit, and the SDK itself never repeats one: who calls knows whether to.

use std::fmt;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{
    BehaviorVersion, Builder, Credentials, ProvideCredentials as _, Region, StalledStreamProtectionConfig,
};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use crate::transport::TransportError;
use crate::transport::sqs::error::SqsError;
use crate::transport::sqs::meter::Meter;
use crate::transport::sqs::{Access, Options};

/// How long a call may take that does not wait for messages.
const ATTEMPT: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(3);
/// The region in which an emulator thinks it is.
const EMULATED_REGION: &str = "us-east-1";

/// A connection to SQS for one network.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) sdk: Client,
    pub(super) meter: Meter,
    pub(super) options: Options,
}

/// A call that failed: what it means for whoever made it, and what to tell the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) error: SqsError,
}

/// What a failure calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// To try again: it throttles, is out of order, or cannot be reached.
    Passing,
    /// There is no such queue.
    Missing,
    /// A queue of this name was deleted less than a minute ago.
    DeletedLately,
    /// A queue of this name exists, with other attributes.
    Exists,
    /// The queue was purged less than a minute ago.
    PurgedLately,
    /// A right is missing.
    Denied,
    /// The request itself is refused.
    Refused,
}

impl FailureKind {
    /// Whether it is certain to pass within a minute.
    pub(super) fn is_once_a_minute(self) -> bool {
        matches!(self, Self::DeletedLately | Self::PurgedLately)
    }
}

impl Link {
    /// Finds region and credentials, so that their lack is told before anything is tried.
    pub(super) async fn open(options: Options) -> Result<Self, SqsError> {
        let meter = Meter::default();
        let config = match &options.access {
            Access::Environment => {
                let shared = aws_config::defaults(BehaviorVersion::v2026_01_12()).load().await;
                shared.region().ok_or(SqsError::NoRegion)?;
                let no_credentials = |reason: String| SqsError::NoCredentials(reason);
                let provider = shared
                    .credentials_provider()
                    .ok_or_else(|| no_credentials("there is no provider".into()))?;
                let found = provider.provide_credentials().await;
                found.map_err(|error| no_credentials(causes(&error)))?;
                Builder::from(&shared)
            }
            Access::Emulator(endpoint) => Builder::new()
                .behavior_version(BehaviorVersion::v2026_01_12())
                .region(Region::from_static(EMULATED_REGION))
                .credentials_provider(Credentials::new("emulator", "emulator", None, None, "emulator"))
                .endpoint_url(endpoint),
        };
        let config = config
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeout(ATTEMPT))
            // A long poll is silent for longer than this would allow.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .interceptor(meter.clone())
            .build();
        Ok(Self { sdk: Client::from_conf(config), meter, options })
    }
}

/// The time limit of a call that waits so long itself.
pub(super) fn patience(wait: Duration) -> Builder {
    Builder::new().timeout_config(timeout(wait + ATTEMPT))
}

fn timeout(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(attempt).build()
}

/// For `map_err`: says what was being done to which queue when the call failed.
pub(super) fn failed<E, R>(action: &'static str, queue: &str) -> impl FnOnce(SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: fmt::Debug + Send + Sync + 'static,
{
    move |error| {
        let passing = |error| Failure { kind: FailureKind::Passing, error };
        match &error {
            SdkError::TimeoutError(_) => passing(SqsError::Timeout { action }),
            SdkError::ServiceError(service) => service_failure(action, queue, service.err()),
            SdkError::ConstructionFailure(_) => {
                let (code, message) = ("ConstructionFailure".into(), causes(&error));
                Failure {
                    kind: FailureKind::Refused,
                    error: SqsError::Service { action, queue: queue.to_owned(), code, message },
                }
            }
            _ => passing(SqsError::Unreachable { action, reason: causes(&error) }),
        }
    }
}

fn service_failure(action: &'static str, queue: &str, error: &impl ProvideErrorMetadata) -> Failure {
    // The older protocol's codes, which the service still sends beside the new, begin with a name space.
    let code = error.code().unwrap_or("an unnamed error");
    let code = code.rsplit(['.', '#']).next().unwrap_or(code);
    let message = || error.message().unwrap_or_default().to_owned();
    let queue = queue.to_owned();
    let kind = kind(code);
    let error = match kind {
        FailureKind::Missing => SqsError::QueueMissing(queue),
        FailureKind::Denied if is_about_credentials(code) => {
            SqsError::CredentialsRefused { code: code.to_owned(), message: message() }
        }
        FailureKind::Denied if action == "ListQueues" => SqsError::ListDenied,
        FailureKind::Denied => SqsError::Denied { action: iam_action(action), queue },
        _ => SqsError::Service { action, queue, code: code.to_owned(), message: message() },
    };
    Failure { kind, error }
}

fn kind(code: &str) -> FailureKind {
    match code {
        "QueueDoesNotExist" | "NonExistentQueue" => FailureKind::Missing,
        "QueueDeletedRecently" => FailureKind::DeletedLately,
        "QueueNameExists" | "QueueAlreadyExists" => FailureKind::Exists,
        "PurgeQueueInProgress" => FailureKind::PurgedLately,
        "AccessDenied" | "AccessDeniedException" | "KmsAccessDenied" => FailureKind::Denied,
        code if is_about_credentials(code) => FailureKind::Denied,
        code if is_final(code) => FailureKind::Refused,
        // Throttling has many names, and what is unknown may pass.
        _ => FailureKind::Passing,
    }
}

/// Batch calls need the right to the call for one message.
fn iam_action(action: &'static str) -> &'static str {
    action.strip_suffix("Batch").unwrap_or(action)
}

fn is_about_credentials(code: &str) -> bool {
    matches!(
        code,
        "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "InvalidSecurity"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "OptInRequired"
    )
}

fn is_final(code: &str) -> bool {
    code.starts_with("Invalid")
        || code.starts_with("Unsupported")
        || code.starts_with("Validation")
        || matches!(code, "BatchRequestTooLong" | "ReceiptHandleIsInvalid" | "MissingParameter")
}

impl From<SqsError> for TransportError {
    fn from(error: SqsError) -> Self {
        Self::Sqs(error)
    }
}

impl From<Failure> for SqsError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl From<Failure> for TransportError {
    fn from(failure: Failure) -> Self {
        Self::Sqs(failure.error)
    }
}

/// An error and what it comes from, each once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some wrappers say all that they wrap.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
