//! Servers outside AWS, and the secrets that they require.

use super::{Aws, chain, failed};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::{
    client::{http::HttpConnector as _, orchestrator::HttpRequest},
    http::HttpError,
};
use shell::{
    AwsError, Kind,
    ports::{Post, PostResponse, Secret, Secrets, Web},
};
use std::time::Duration;

/// Time limit for the response of a server. Four requests and their retries fit into the time limit of a function.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of bytes read from a response: enough for an error message.
const MAX_BODY_BYTES: usize = 2048;

impl Aws {
    fn ssm(&self) -> &aws_sdk_ssm::Client {
        self.ssm.get_or_init(|| aws_sdk_ssm::Client::new(&self.config))
    }

    fn web(&self) -> &Connector {
        self.web.get_or_init(|| {
            Connector::builder()
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .build()
        })
    }
}

impl Secrets for Aws {
    async fn secret(&self, parameter: &str) -> Result<Secret, AwsError> {
        let operation = "ssm:GetParameter";
        let answer = self
            .ssm()
            .get_parameter()
            .name(parameter)
            .with_decryption(true)
            .send()
            .await;
        let answer = answer.map_err(|error| failed(operation, parameter, &error))?;
        let value = answer.parameter.and_then(|parameter| parameter.value);
        value.map(Secret::new).ok_or_else(|| AwsError {
            operation,
            resource: parameter.to_owned(),
            kind: Kind::NotFound,
            message: "the parameter has no value".to_owned(),
        })
    }
}

impl Web for Aws {
    async fn post(&self, request: &Post) -> Result<PostResponse, AwsError> {
        let failed = |kind, message| AwsError {
            operation: "POST",
            resource: request.host().to_owned(),
            kind,
            message,
        };
        let http = http_request(request).map_err(|error| failed(Kind::Rejected, chain(&error)))?;
        let answer = async {
            let answer = self.web().call(http).await;
            let answer = answer.map_err(|error| failed(Kind::Transient, chain(&error)))?;
            Ok(PostResponse {
                status: answer.status().as_u16(),
                body: first_bytes(answer.into_body()).await,
            })
        };
        tokio::time::timeout(RESPONSE_TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| {
                let message = format!("no response within {} s", RESPONSE_TIMEOUT.as_secs());
                Err(failed(Kind::Transient, message))
            })
    }
}

fn http_request(request: &Post) -> Result<HttpRequest, HttpError> {
    let mut http = HttpRequest::new(SdkBody::from(request.body.clone()));
    http.set_method("POST")?;
    http.set_uri(request.url.as_str())?;
    http.headers_mut().try_insert("content-type", "application/json")?;
    http.headers_mut().try_insert("user-agent", "driftwarden")?;
    for (name, value) in &request.headers {
        http.headers_mut().try_insert(*name, value.clone())?;
    }
    Ok(http)
}

/// The first bytes of a body. A body that ends early is no error: the status is sufficient.
async fn first_bytes(body: SdkBody) -> String {
    let mut stream = ByteStream::new(body);
    let mut bytes = Vec::new();
    while let Some(Ok(chunk)) = stream.next().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= MAX_BODY_BYTES {
            break;
        }
    }
    bytes.truncate(MAX_BODY_BYTES);
    String::from_utf8_lossy(&bytes).into_owned()
}
