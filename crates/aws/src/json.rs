//! SageMaker and Parameter Store, which speak *AWS JSON 1.1*: a POST request with a JSON document, named by a header.
//!
//! They are called through the SDK's orchestrator (retries, time limits, signatures, credentials) without their generated crates.
//! That of SageMaker is the largest of the SDK: it takes most of the time and memory of a build, for some 40 of 380 operations, and it
//! drops the members of a description that it does not know, which a copy of the described resource then lacks.

use super::failed;
use aws_config::SdkConfig;
use aws_runtime::{
    auth::{
        SigV4OperationSigningConfig,
        sigv4::{SCHEME_ID, SigV4AuthScheme},
    },
    retries::classifiers::AwsErrorCodeClassifier,
};
use aws_smithy_runtime::client::{
    orchestrator::operation::Operation,
    retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier},
};
use aws_smithy_runtime_api::client::{
    auth::{
        AuthSchemeOptionResolverParams, SharedAuthScheme, SharedAuthSchemeOptionResolver,
        static_resolver::StaticAuthSchemeOptionResolver,
    },
    identity::SharedIdentityResolver,
    orchestrator::{HttpRequest, HttpResponse, OrchestratorError},
    runtime_components::RuntimeComponentsBuilder,
    runtime_plugin::StaticRuntimePlugin,
};
use aws_smithy_types::{
    body::SdkBody,
    config_bag::Layer,
    error::metadata::{ErrorMetadata, ProvideErrorMetadata},
    retry::RetryConfig,
};
use aws_types::{SigningName, region::SigningRegion, service_config::ServiceConfigKey};
use jiff::Timestamp;
use machine::{AwsError, Kind};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use std::{error::Error, fmt};

/// A service with this protocol.
#[derive(Debug)]
pub(crate) struct Service {
    /// Service ID, as in `AWS_ENDPOINT_URL_<ID>`.
    id: &'static str,
    signing_name: &'static str,
    /// Prefix of the operation in the header `x-amz-target`.
    target: &'static str,
    /// Name in the host of the endpoint.
    host: &'static str,
    /// The same for FIPS endpoints.
    fips_host: &'static str,
}

/// Amazon SageMaker (*AWS General Reference*, page *sagemaker* on endpoints).
pub(crate) const SAGEMAKER: Service = Service {
    id: "SageMaker",
    signing_name: "sagemaker",
    target: "SageMaker",
    host: "api.sagemaker",
    fips_host: "api-fips.sagemaker",
};

/// Parameter Store of AWS Systems Manager (*AWS General Reference*, page *ssm* on endpoints).
pub(crate) const PARAMETER_STORE: Service = Service {
    id: "SSM",
    signing_name: "ssm",
    target: "AmazonSSM",
    host: "ssm",
    fips_host: "ssm-fips",
};

/// Partitions of AWS by the beginning of their regions' names: domain, and domain of dual-stack endpoints (*botocore*,
/// `partitions.json`). All other regions are in `aws` or `aws-us-gov`.
const PARTITIONS: [(&str, &str, &str); 6] = [
    ("cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
    ("us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    ("eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
];

impl Service {
    /// Endpoint in a region, or the one that the configuration names: for this service first, then for all.
    fn endpoint(&self, config: &SdkConfig, region: &str) -> String {
        let key = ServiceConfigKey::builder()
            .service_id(self.id)
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build();
        let own = key.ok().and_then(|key| config.service_config()?.load_config(key));
        if let Some(url) = own.or_else(|| config.endpoint_url().map(ToOwned::to_owned)) {
            return url;
        }
        let partition = PARTITIONS.iter().find(|(prefix, ..)| region.starts_with(prefix));
        let (_, domain, dual_stack) = partition.unwrap_or(&("", "amazonaws.com", "api.aws"));
        let is_dual_stack = config.use_dual_stack() == Some(true);
        let host = match (config.use_fips() == Some(true), is_dual_stack) {
            (false, _) => self.host.to_owned(),
            (true, false) if partition.is_none() => self.fips_host.to_owned(),
            (true, _) => format!("{}-fips", self.host),
        };
        format!(
            "https://{host}.{region}.{}",
            if is_dual_stack { dual_stack } else { domain }
        )
    }
}

/// Client of one service.
#[derive(Debug)]
pub(crate) struct JsonClient {
    service: &'static Service,
    operation: Operation<Request, Vec<u8>, ServiceError>,
}

/// Name of the operation, and its input as JSON. The input may be secret.
struct Request {
    operation: &'static str,
    input: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

/// Error of a service: error code and message.
#[derive(Debug)]
struct ServiceError(ErrorMetadata);

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [self.0.code(), self.0.message()];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(": "))
    }
}

impl Error for ServiceError {}

impl ProvideErrorMetadata for ServiceError {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}

impl JsonClient {
    /// Client with the credentials, time limits, and retries of a configuration.
    pub(crate) fn new(service: &'static Service, config: &SdkConfig) -> Self {
        let region = config.region().cloned();
        let signing = SigV4OperationSigningConfig {
            name: Some(SigningName::from_static(service.signing_name)),
            region: region.clone().map(SigningRegion::from),
            ..SigV4OperationSigningConfig::default()
        };
        let mut layer = Layer::new("signature");
        layer.store_put(signing);
        layer.store_put(AuthSchemeOptionResolverParams::new(()));
        let mut components = RuntimeComponentsBuilder::new("signature");
        components.set_auth_scheme_option_resolver(Some(SharedAuthSchemeOptionResolver::new(
            StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID]),
        )));
        components.push_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()));
        if let Some(cache) = config.identity_cache() {
            components.set_identity_cache(Some(cache));
        }
        if let Some(credentials) = config.credentials_provider() {
            components.set_identity_resolver(SCHEME_ID, SharedIdentityResolver::new(credentials));
        }
        let signature = StaticRuntimePlugin::new()
            .with_config(layer.freeze())
            .with_runtime_components(components);

        let endpoint = service.endpoint(config, region.as_ref().map_or("", AsRef::as_ref));
        let target = service.target;
        let mut builder = Operation::builder()
            .service_name(service.id)
            .operation_name("JSON")
            .endpoint_url(&endpoint)
            .standard_retry(&config.retry_config().cloned().unwrap_or_else(RetryConfig::standard))
            .retry_classifier(HttpStatusCodeClassifier::default())
            .retry_classifier(TransientErrorClassifier::<ServiceError>::new())
            .retry_classifier(AwsErrorCodeClassifier::<ServiceError>::new())
            .with_connection_poisoning()
            .runtime_plugin(signature);
        if let Some(http) = config.http_client() {
            builder = builder.http_client(http);
        }
        if let Some(timeouts) = config.timeout_config() {
            builder = builder.timeout_config(timeouts.clone());
        }
        if let Some(time) = config.time_source() {
            builder = builder.time_source(time);
        }
        if let Some(sleep) = config.sleep_impl() {
            builder = builder.sleep_impl(sleep);
        }
        let operation = builder
            .serializer(move |request: Request| {
                let mut http = HttpRequest::new(SdkBody::from(request.input));
                http.set_method("POST")?;
                http.set_uri("/")?;
                let headers = http.headers_mut();
                headers.try_insert("content-type", "application/x-amz-json-1.1")?;
                headers.try_insert("user-agent", concat!("driftwarden/", env!("CARGO_PKG_VERSION")))?;
                headers.try_insert("x-amz-target", format!("{target}.{}", request.operation))?;
                Ok(http)
            })
            .deserializer(|response| {
                let body = response.body().bytes().unwrap_or_default();
                if response.status().is_success() {
                    Ok(body.to_vec())
                } else {
                    Err(OrchestratorError::operation(ServiceError(error(response, body))))
                }
            })
            .build();
        Self { service, operation }
    }

    /// Calls an operation, named with its service: `sagemaker:DescribeModel`. Parses the response. Members that are null are not sent.
    ///
    /// An error never quotes a response, which may be a secret.
    ///
    /// # Errors
    ///
    /// `AwsError` of the request; a transient one if the response is not as documented.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        resource: &str,
        mut input: Value,
    ) -> Result<T, AwsError> {
        remove_nulls(&mut input);
        let request = Request {
            operation: operation.split_once(':').map_or(operation, |(_, name)| name),
            input: input.to_string().into_bytes(),
        };
        let response = self.operation.invoke(request).await;
        let body = response.map_err(|error| failed(operation, resource, &error))?;
        let parsed = serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(&body));
        parsed.map_err(|error| AwsError {
            operation,
            resource: resource.to_owned(),
            kind: Kind::Transient,
            message: format!(
                "the response of {} is not as documented at `{}`",
                self.service.id,
                error.path()
            ),
        })
    }
}

/// Sets a member of a request.
pub(crate) fn set(input: &mut Value, member: &str, value: impl Into<Value>) {
    if let Some(members) = input.as_object_mut() {
        members.insert(member.to_owned(), value.into());
    }
}

/// Removes the members of objects that are null: members that a request does not have.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// Code and message of an error (*Smithy*, page *AWS JSON 1.1 protocol*, on operation error serialization).
fn error(response: &HttpResponse, body: &[u8]) -> ErrorMetadata {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "__type")]
        kind: Option<String>,
        code: Option<String>,
        #[serde(alias = "Message")]
        message: Option<String>,
    }
    let body: Option<Body> = serde_json::from_slice(body).ok();
    let (kind, message) = body.map_or((None, None), |body| (body.kind.or(body.code), body.message));
    let header = response.headers().get("x-amzn-errortype").map(ToOwned::to_owned);
    let mut metadata = ErrorMetadata::builder();
    match header.or(kind) {
        Some(kind) => {
            // With or without the namespace of the service and a URI: `com.amazonaws.ssm#ParameterNotFound:http://…`.
            let name = kind.split(':').next().unwrap_or(&kind);
            metadata = metadata.code(name.rsplit('#').next().unwrap_or(name));
        }
        None if message.is_none() => {
            metadata = metadata.message(format!("HTTP status {}", response.status().as_u16()));
        }
        None => {}
    }
    if let Some(message) = message {
        metadata = metadata.message(message);
    }
    metadata.build()
}

/// A time in a response: seconds since 1970. Parts of a second are dropped.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct Time(pub(crate) Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        // The conversion saturates. Times beyond the range of `Timestamp` are refused.
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        let seconds = seconds.floor() as i64;
        Timestamp::from_second(seconds)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded;
    use aws_config::{BehaviorVersion, Region};
    use serde_json::json;

    #[tokio::test]
    async fn request_is_signed_and_names_its_operation() {
        let (aws, sent) = recorded::aws(|_| (200, "{}".to_owned()));
        let input = json!({"EndpointName": "churn", "DeploymentConfig": null, "Tags": [{"Key": "a", "Value": null}]});
        let _: Value = aws.sagemaker("sagemaker:UpdateEndpoint", "churn", input).await.unwrap();
        let sent = sent.lock().unwrap();
        let [request] = sent.as_slice() else { panic!("{sent:?}") };
        assert_eq!(request.uri, "https://api.sagemaker.eu-central-1.amazonaws.com/");
        assert_eq!(request.input, json!({"EndpointName": "churn", "Tags": [{"Key": "a"}]}));
        let header = |name| {
            request
                .headers
                .iter()
                .find(|(header, _)| header == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(header("x-amz-target"), Some("SageMaker.UpdateEndpoint"));
        assert_eq!(header("content-type"), Some("application/x-amz-json-1.1"));
        assert_eq!(header("x-amz-security-token"), Some("token"));
        let authorization = header("authorization").unwrap();
        assert!(
            authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"),
            "{authorization}"
        );
        assert!(
            authorization.contains("/eu-central-1/sagemaker/aws4_request"),
            "{authorization}"
        );
    }

    #[tokio::test]
    async fn transient_errors_are_retried_and_others_are_not() {
        for (status, body, attempts, kind, message) in [
            (
                400,
                r#"{"__type": "ThrottlingException", "message": "Rate exceeded"}"#,
                4,
                Kind::Transient,
                "ThrottlingException: Rate exceeded",
            ),
            (
                500,
                r#"{"__type": "InternalFailure"}"#,
                4,
                Kind::Transient,
                "InternalFailure",
            ),
            (503, "<html>", 4, Kind::Transient, "HTTP status 503"),
            (
                400,
                r#"{"__type": "ValidationException", "message": "Could not find endpoint"}"#,
                1,
                Kind::Rejected,
                "ValidationException: Could not find endpoint",
            ),
            (
                400,
                r#"{"__type": "com.amazonaws.sagemaker#ResourceNotFound:http://internal/", "Message": "no"}"#,
                1,
                Kind::NotFound,
                "ResourceNotFound: no",
            ),
            (
                400,
                r#"{"code": "ResourceLimitExceeded", "message": "quota"}"#,
                1,
                Kind::Transient,
                "ResourceLimitExceeded: quota",
            ),
            (
                403,
                r#"{"__type": "AccessDeniedException", "Message": "no"}"#,
                1,
                Kind::Denied,
                "AccessDeniedException: no",
            ),
            (400, r#"{"message": "no code"}"#, 1, Kind::Rejected, "no code"),
        ] {
            let (aws, sent) = recorded::aws(move |_| (status, body.to_owned()));
            let called = aws
                .sagemaker::<Value>("sagemaker:DescribeEndpoint", "churn", json!({}))
                .await;
            let error = called.unwrap_err();
            assert_eq!(sent.lock().unwrap().len(), attempts, "{body}");
            assert_eq!(error.kind, kind, "{body}");
            assert!(error.message.contains(message), "{error}");
            assert_eq!(error.resource, "churn");
        }
    }

    #[tokio::test]
    async fn lost_attempt_is_repaired_by_the_next() {
        let attempts = std::sync::atomic::AtomicUsize::new(0);
        let (aws, _) = recorded::aws(
            move |_| match attempts.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => (400, r#"{"__type": "ThrottlingException"}"#.to_owned()),
                _ => (200, r#"{"EndpointStatus": "InService"}"#.to_owned()),
            },
        );
        let found: Value = aws
            .sagemaker("sagemaker:DescribeEndpoint", "churn", json!({}))
            .await
            .unwrap();
        assert_eq!(found["EndpointStatus"], "InService");
    }

    #[tokio::test]
    async fn secret_is_never_quoted() {
        use shell::ports::Secrets as _;
        let read = async |status, body: &'static str| {
            let (aws, sent) = recorded::aws(move |_| (status, body.to_owned()));
            let read = aws
                .secret("/driftwarden/token")
                .await
                .map(|secret| secret.expose().to_owned());
            let request = sent.lock().unwrap()[0].clone();
            assert_eq!(request.uri, "https://ssm.eu-central-1.amazonaws.com/");
            assert_eq!(
                request.input,
                json!({"Name": "/driftwarden/token", "WithDecryption": true})
            );
            read
        };
        assert_eq!(
            read(200, r#"{"Parameter": {"Value": "s3cret", "Version": 1}}"#)
                .await
                .unwrap(),
            "s3cret"
        );
        for (status, body, kind) in [
            (200, "{}", Kind::NotFound),
            (200, r#"{"Parameter": "s3cret"}"#, Kind::Transient),
            (200, r#"{"Parameter": {"Value": "s3cret"#, Kind::Transient),
            (503, r#"{"Parameter": {"Value": "s3cret"#, Kind::Transient),
            (400, r#"{"__type": "ParameterNotFound"}"#, Kind::NotFound),
        ] {
            let error = read(status, body).await.unwrap_err();
            assert_eq!(error.kind, kind, "{body}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
    }

    #[test]
    fn endpoint_follows_region_and_configuration() {
        let endpoint = |service: &Service,
                        region: &'static str,
                        change: fn(aws_config::ConfigLoader) -> aws_config::ConfigLoader| {
            let loader = aws_config::defaults(BehaviorVersion::latest()).no_credentials();
            let loader = change(loader.region(Region::new(region)));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            service.endpoint(&runtime.block_on(loader.load()), region)
        };
        // The values of the SDK's endpoint rules (aws-sdk-sagemaker 1.248, tests of the rules).
        for (region, expected) in [
            ("eu-central-1", "https://api.sagemaker.eu-central-1.amazonaws.com"),
            ("us-gov-west-1", "https://api.sagemaker.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "https://api.sagemaker.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", "https://api.sagemaker.eusc-de-east-1.amazonaws.eu"),
        ] {
            assert_eq!(endpoint(&SAGEMAKER, region, |loader| loader), expected);
        }
        let fips = |loader: aws_config::ConfigLoader| loader.use_fips(true);
        let dual_stack = |loader: aws_config::ConfigLoader| loader.use_dual_stack(true);
        assert_eq!(
            endpoint(&SAGEMAKER, "us-gov-west-1", fips),
            "https://api-fips.sagemaker.us-gov-west-1.amazonaws.com"
        );
        assert_eq!(
            endpoint(&SAGEMAKER, "cn-north-1", fips),
            "https://api.sagemaker-fips.cn-north-1.amazonaws.com.cn"
        );
        assert_eq!(
            endpoint(&PARAMETER_STORE, "us-gov-west-1", fips),
            "https://ssm-fips.us-gov-west-1.amazonaws.com"
        );
        assert_eq!(
            endpoint(&SAGEMAKER, "us-east-1", dual_stack),
            "https://api.sagemaker.us-east-1.api.aws"
        );
        assert_eq!(
            endpoint(&SAGEMAKER, "cn-north-1", dual_stack),
            "https://api.sagemaker.cn-north-1.api.amazonwebservices.com.cn"
        );
        let both = |loader: aws_config::ConfigLoader| loader.use_fips(true).use_dual_stack(true);
        assert_eq!(
            endpoint(&SAGEMAKER, "us-east-1", both),
            "https://api.sagemaker-fips.us-east-1.api.aws"
        );
        let local = |loader: aws_config::ConfigLoader| loader.endpoint_url("http://localhost:4566");
        assert_eq!(
            endpoint(&PARAMETER_STORE, "eu-central-1", local),
            "http://localhost:4566"
        );
    }
}
