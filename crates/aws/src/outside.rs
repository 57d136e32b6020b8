//! Servers outside AWS, and the secrets that they require.

use super::{
    Aws, chain,
    json::{JsonClient, PARAMETER_STORE},
};
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::{
    client::{http::HttpConnector as _, identity::Identity, orchestrator::HttpRequest},
    http::HttpError,
};
use machine::{AwsError, Clock as _, Kind};
use serde::Deserialize;
use serde_json::json;
use shell::{
    operator::FunctionUrls,
    ports::{Post, PostResponse, Secret, Secrets, Web},
};
use std::{error::Error, time::Duration};

/// Maximum number of bytes read from a response of another server: enough for an error message.
const MAX_BODY_BYTES: usize = 2048;
/// Time limit for the answer of a function behind a URL. Functions time out after 60 s (`infra/template.yaml`).
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(65);
/// Maximum number of bytes read from the answer of a function.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

impl Aws {
    /// Signed request for a function behind a URL. The region of the signature is that of the URL.
    async fn function_request(&self, url: &str, body: String) -> Result<HttpRequest, Box<dyn Error + Send + Sync>> {
        let configured = self.config.region().map(AsRef::as_ref);
        let region = function_url_region(url)
            .or(configured)
            .ok_or("no region is configured")?;
        let headers = [("content-type", "application/json"), ("user-agent", "driftwarden")];
        self.signed_request("lambda", region, url.to_owned(), &headers, body)
            .await
    }

    /// POST request with a signature of version 4.
    async fn signed_request(
        &self,
        service: &str,
        region: &str,
        url: String,
        headers: &[(&'static str, &'static str)],
        body: String,
    ) -> Result<HttpRequest, Box<dyn Error + Send + Sync>> {
        let provider = self
            .config
            .credentials_provider()
            .ok_or("no credentials are configured")?;
        let identity = Identity::from(provider.provide_credentials().await?);
        let params = SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(self.now().into())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let signable = SignableRequest::new(
            "POST",
            &url,
            headers.iter().copied(),
            SignableBody::Bytes(body.as_bytes()),
        )?;
        let (signature, _) = sign(signable, &params)?.into_parts();
        let mut http = HttpRequest::new(SdkBody::from(body));
        http.set_method("POST")?;
        http.set_uri(url)?;
        for (name, value) in headers.iter().copied().chain(signature.headers()) {
            http.headers_mut().try_insert(name.to_owned(), value.to_owned())?;
        }
        Ok(http)
    }

    fn web(&self) -> &Connector {
        self.web.get_or_init(|| {
            Connector::builder()
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .build()
        })
    }

    /// Sends a request. Returns status and first bytes of the response, or why there is none.
    async fn send(&self, request: HttpRequest, max_bytes: usize, timeout: Duration) -> Result<(u16, String), String> {
        let answer = async {
            let answer = self.web().call(request).await.map_err(|error| chain(&error))?;
            Ok((
                answer.status().as_u16(),
                first_bytes(answer.into_body(), max_bytes).await,
            ))
        };
        tokio::time::timeout(timeout, answer)
            .await
            .unwrap_or_else(|_| Err(format!("no response within {} s", timeout.as_secs())))
    }
}

/// Region in the URL of a function: `https://ID.lambda-url.REGION.on.aws/`. `None` for any other URL.
fn function_url_region(url: &str) -> Option<&str> {
    let (_, rest) = url.strip_prefix("https://")?.split_once(".lambda-url.")?;
    let (host, _) = rest.split_once('/').unwrap_or((rest, ""));
    host.strip_suffix(".on.aws")
}

impl FunctionUrls for Aws {
    async fn invoke_url(&self, url: &str, body: String) -> Result<PostResponse, AwsError> {
        let failed = |kind, message| AwsError {
            operation: "lambda:InvokeFunctionUrl",
            resource: url.to_owned(),
            kind,
            message,
        };
        let request = self
            .function_request(url, body)
            .await
            .map_err(|error| failed(Kind::Rejected, chain(&*error)))?;
        let sent = self.send(request, MAX_ANSWER_BYTES, FUNCTION_TIMEOUT).await;
        let (status, body) = sent.map_err(|message| failed(Kind::Transient, message))?;
        Ok(PostResponse { status, body })
    }
}

/// Response of `GetParameter` (*AWS Systems Manager API Reference*).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ParameterResponse {
    parameter: Option<Parameter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    value: Option<String>,
}

impl Secrets for Aws {
    async fn secret(&self, parameter: &str) -> Result<Secret, AwsError> {
        let operation = "ssm:GetParameter";
        let client = self
            .parameter_store
            .get_or_init(|| JsonClient::new(&PARAMETER_STORE, &self.config));
        let input = json!({"Name": parameter, "WithDecryption": true});
        let response: ParameterResponse = client.call(operation, parameter, input).await?;
        let value = response.parameter.and_then(|parameter| parameter.value);
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
        // The path of the URL may be a secret.
        let failed = |kind, message: &str| AwsError {
            operation: "POST",
            resource: request.host().to_owned(),
            kind,
            message: request.redact(message),
        };
        let http = http_request(request).map_err(|error| failed(Kind::Rejected, &chain(&error)))?;
        let sent = self.send(http, MAX_BODY_BYTES, request.timeout).await;
        let (status, body) = sent.map_err(|message| failed(Kind::Transient, &message))?;
        Ok(PostResponse { status, body })
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
async fn first_bytes(body: SdkBody, limit: usize) -> String {
    let mut stream = ByteStream::new(body);
    let mut bytes = Vec::new();
    while let Some(Ok(chunk)) = stream.next().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= limit {
            break;
        }
    }
    bytes.truncate(limit);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_url_names_its_region() {
        assert_eq!(
            function_url_region("https://abc.lambda-url.eu-central-1.on.aws/"),
            Some("eu-central-1")
        );
        assert_eq!(
            function_url_region("https://abc.lambda-url.eu-central-1.on.aws"),
            Some("eu-central-1")
        );
        for other in [
            "http://127.0.0.1:4566/x/",
            "https://a.lambda-url.b.evil.example/.on.aws",
            "https://example.com/",
        ] {
            assert_eq!(function_url_region(other), None, "{other}");
        }
    }

    /// A function behind a URL on this machine. Answers one request with a status and a body. Returns its URL, and the request.
    fn stand_in(status: u16, body: &'static str) -> (String, std::thread::JoinHandle<(String, String)>) {
        use std::io::{BufRead as _, BufReader, Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let answered = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push_str(&line);
            }
            let mut sent = vec![0; length];
            reader.read_exact(&mut sent).unwrap();
            let answer = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
            (head, String::from_utf8(sent).unwrap())
        });
        (url, answered)
    }

    #[tokio::test]
    async fn request_to_function_url_is_signed() {
        // The recorder's configuration, without its HTTP client.
        let aws = Aws::new(crate::recorded::config(|_| (500, String::new())).0);
        // AWS's answer to a caller without permission, and to one with it.
        for (status, answer) in [
            (
                403,
                r#"{"Message":"Forbidden. For troubleshooting Function URL authorization issues, see …"}"#,
            ),
            (200, "{}"),
        ] {
            let (url, answered) = stand_in(status, answer);
            let command = r#"{"id":"1","command":"resume","model":"churn"}"#;
            let response = aws.invoke_url(&url, command.to_owned()).await.unwrap();
            let (head, body) = answered.join().unwrap();
            assert_eq!((response.status, response.body.as_str()), (status, answer));
            assert_eq!(body, command);
            let head = head.to_lowercase();
            assert!(head.starts_with("post / http/1.1"), "{head}");
            let authorization = head.lines().find(|line| line.starts_with("authorization:")).unwrap();
            assert!(
                authorization.contains("aws4-hmac-sha256 credential=akidexample/"),
                "{authorization}"
            );
            assert!(
                authorization.contains("/eu-central-1/lambda/aws4_request"),
                "{authorization}"
            );
            for header in ["content-type", "host", "x-amz-date", "x-amz-security-token"] {
                assert!(head.contains(&format!("{header}:")), "{head}");
                assert!(authorization.contains(header), "{authorization}");
            }
            assert!(!head.contains("secret"), "{head}");
        }
    }
}
