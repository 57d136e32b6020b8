//! Topics, secrets, and servers outside AWS, in memory.

use super::Memory;
use crate::ports::{Post, PostResponse, Secret, Secrets, Topics, Web};
use jiff::{SignedDuration, Timestamp};
use machine::{AwsError, Kind};
use std::{collections::BTreeMap, future::poll_fn, task::Poll, time::Duration};

/// Messages and requests sent, secrets, and responses of servers.
#[derive(Debug, Default)]
pub(super) struct Outside {
    /// Topic (`None` is the deployment's), subject, and message.
    published: Vec<(Option<String>, String, String)>,
    secrets: BTreeMap<String, Secret>,
    posts: Vec<Post>,
    /// Response status by URL. The default is 202.
    answers: BTreeMap<String, u16>,
    /// Time that a server takes for a response, by URL. The default is none.
    delays: BTreeMap<String, Duration>,
    /// Times that requests wait for.
    waits: Vec<Timestamp>,
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

    /// Sets the time that a server takes for a response. `Duration::MAX`: it never responds.
    pub fn answer_after(&self, url: &str, delay: Duration) {
        self.inner().outside.delays.insert(url.to_owned(), delay);
    }

    /// Waits for a duration. The clock moves to the end of the earliest wait as soon as no other future calls an operation.
    /// So concurrent requests wait at the same time, and requests to fast servers do not wait for slow ones.
    async fn wait(&self, duration: Duration) {
        let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        let end = self.time().saturating_add(duration).unwrap_or(Timestamp::MAX);
        self.inner().outside.waits.push(end);
        let mut before = None;
        poll_fn(|context| {
            let mut inner = self.inner();
            let state = Some((inner.calls.len(), inner.now));
            let is_earliest = inner.outside.waits.iter().all(|other| *other >= end);
            if inner.now < end && !(before == state && is_earliest) {
                before = state;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            inner.now = inner.now.max(end);
            let waits = &mut inner.outside.waits;
            if let Some(at) = waits.iter().position(|other| *other == end) {
                waits.remove(at);
            }
            Poll::Ready(())
        })
        .await;
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
        let delay = self.inner().outside.delays.get(&request.url).copied();
        let response = self
            .call("POST", request.host(), |inner| {
                inner.outside.posts.push(request.clone());
                let status = inner.outside.answers.get(&request.url).copied().unwrap_or(202);
                // Some servers repeat the path of the request.
                let body = format!("answer {status} to {}", request.url);
                Ok(PostResponse { status, body })
            })
            .await;
        let Some(delay) = delay else { return response };
        self.wait(delay.min(request.timeout)).await;
        if delay > request.timeout {
            return Err(AwsError {
                operation: "POST",
                resource: request.host().to_owned(),
                kind: Kind::Transient,
                message: format!("no response within {} s", request.timeout.as_secs()),
            });
        }
        response
    }
}
