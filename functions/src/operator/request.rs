//! Requests and responses of a Lambda function URL (developer guide, page *urls-invocation*).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A request, as Lambda passes it to the function.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UrlRequest {
    pub(crate) request_context: Context,
    #[serde(default)]
    pub(crate) body: Option<String>,
    #[serde(default)]
    pub(crate) is_base64_encoded: bool,
}

/// What AWS says about a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Context {
    /// Absent without authorization.
    #[serde(default)]
    authorizer: Option<Authorizer>,
    pub(crate) http: Http,
    /// ID of the request.
    pub(crate) request_id: String,
    /// Time at which AWS received the request, in milliseconds since 1970.
    time_epoch: i64,
}

#[derive(Debug, Deserialize)]
struct Authorizer {
    #[serde(default)]
    iam: Option<Iam>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Iam {
    #[serde(default)]
    user_arn: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Http {
    pub(crate) method: String,
}

impl Context {
    /// ARN of the caller. `None` if IAM did not authorize the request.
    pub(crate) fn caller(&self) -> Option<&str> {
        let arn = self.authorizer.as_ref()?.iam.as_ref()?.user_arn.as_deref()?;
        arn.starts_with("arn:").then_some(arn)
    }

    /// Time at which AWS received the request.
    pub(crate) fn received(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.time_epoch).ok()
    }
}

/// A response, as Lambda expects it from the function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// HTTP status code.
    pub status_code: u16,
    /// Headers.
    pub headers: BTreeMap<&'static str, &'static str>,
    /// Body: `remediation::OperatorAnswer` with status 200, `remediation::OperatorRefusal` with any other, as JSON.
    pub body: String,
}

impl Response {
    /// A response with a JSON body.
    pub(crate) fn json(status_code: u16, body: &impl Serialize) -> Self {
        Self {
            status_code,
            headers: BTreeMap::from([("content-type", "application/json")]),
            // The types of the answers have no maps, so this cannot fail.
            body: serde_json::to_string(body).unwrap_or_default(),
        }
    }
}
