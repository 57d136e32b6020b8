//! An HTTP client for tests: answers from a function and records the requests.

use super::Aws;
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::body::SdkBody;
use serde_json::Value;
use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A request as it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) uri: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Operation in the header `x-amz-target`, without the service.
    pub(crate) operation: String,
    pub(crate) input: Value,
}

type Answer = dyn Fn(&Sent) -> (u16, String) + Send + Sync;

#[derive(Clone)]
struct Recorder {
    answer: Arc<Answer>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

impl HttpConnector for Recorder {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let headers = request.headers().iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let sent = Sent {
            uri: request.uri().to_owned(),
            headers,
            operation: target.rsplit('.').next().unwrap_or_default().to_owned(),
            input: serde_json::from_slice(request.body().bytes().unwrap()).unwrap(),
        };
        let (status, body) = (self.answer)(&sent);
        self.sent.lock().unwrap().push(sent);
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body))))
    }
}

/// AWS behind a function from requests to status and body, and the requests that it received.
pub(crate) fn aws(answer: impl Fn(&Sent) -> (u16, String) + Send + Sync + 'static) -> (Aws, Arc<Mutex<Vec<Sent>>>) {
    let (config, sent) = config(answer);
    (Aws::new(config), sent)
}

/// The same as a configuration of the SDK.
pub(crate) fn config(
    answer: impl Fn(&Sent) -> (u16, String) + Send + Sync + 'static,
) -> (SdkConfig, Arc<Mutex<Vec<Sent>>>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let recorder = Recorder {
        answer: Arc::new(answer),
        sent: Arc::clone(&sent),
    };
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", Some("token".to_owned()), None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(recorder.clone())))
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(4)
                .with_initial_backoff(Duration::from_millis(1)),
        )
        .build();
    (config, sent)
}
