//! Topics, secrets, and servers outside AWS, in memory.

use super::Memory;
use crate::{
    AwsError, Kind,
    ports::{Post, PostResponse, Secret, Secrets, Topics, Web},
};
use std::collections::BTreeMap;

/// Messages and requests sent, secrets, and responses of servers.
#[derive(Debug, Default)]
pub(super) struct Outside {
    /// Topic (`None` is the deployment's), subject, and message.
    published: Vec<(Option<String>, String, String)>,
    secrets: BTreeMap<String, Secret>,
    posts: Vec<Post>,
    /// Response status by URL. The default is 202.
    answers: BTreeMap<String, u16>,
}

impl Memory {
    /// Subject and body of the messages published so far.
    pub fn messages(&self) -> Vec<(String, String)> {
        let inner = self.inner();
        let published = inner.outside.published.iter();
        published
            .map(|(_, subject, body)| (subject.clone(), body.clone()))
            .collect()
    }

    /// The messages published so far with their topics; `None` is the deployment's.
    pub fn published(&self) -> Vec<(Option<String>, String, String)> {
        self.inner().outside.published.clone()
    }

    /// The POST requests sent so far, with any response.
    pub fn posts(&self) -> Vec<Post> {
        self.inner().outside.posts.clone()
    }

    /// Sets the secret of a parameter.
    pub fn put_secret(&self, parameter: &str, value: &str) {
        let secret = Secret::new(value);
        self.inner().outside.secrets.insert(parameter.to_owned(), secret);
    }

    /// Sets the response status of a server.
    pub fn answer(&self, url: &str, status: u16) {
        self.inner().outside.answers.insert(url.to_owned(), status);
    }
}

impl Topics for Memory {
    async fn publish_message(&self, topic: Option<&str>, subject: &str, message: &str) -> Result<(), AwsError> {
        self.call("sns:Publish", topic.unwrap_or_default(), |inner| {
            let message = (topic.map(str::to_owned), subject.to_owned(), message.to_owned());
            inner.outside.published.push(message);
            Ok(())
        })
        .await
    }
}

impl Secrets for Memory {
    async fn secret(&self, parameter: &str) -> Result<Secret, AwsError> {
        self.call("ssm:GetParameter", parameter, |inner| {
            let secret = inner.outside.secrets.get(parameter).cloned();
            secret.ok_or_else(|| AwsError {
                operation: "ssm:GetParameter",
                resource: parameter.to_owned(),
                kind: Kind::NotFound,
                message: "ParameterNotFound".into(),
            })
        })
        .await
    }
}

impl Web for Memory {
    async fn post(&self, request: &Post) -> Result<PostResponse, AwsError> {
        self.call("POST", request.host(), |inner| {
            inner.outside.posts.push(request.clone());
            let status = inner.outside.answers.get(&request.url).copied().unwrap_or(202);
            let body = format!("answer {status}");
            Ok(PostResponse { status, body })
        })
        .await
    }
}
