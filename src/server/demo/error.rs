//! The demo's refusals, as the problem documents that are answered.

use tracing::error;

use super::producers::PublishError;
use crate::server::http::error::ApiError;
use crate::wire::message::MessageTextError;

/// 404: no message has the id that was asked for.
pub(super) fn message_unknown() -> ApiError {
    ApiError::NotFound("No message has this id. It may be mistyped, or too old to be kept.".into())
}

impl From<MessageTextError> for ApiError {
    fn from(error: MessageTextError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Append(error) => error.into(),
            _ => {
                error!(%error, "a message was not published");
                Self::Internal
            }
        }
    }
}
