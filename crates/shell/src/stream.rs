//! AWS for blocking code: S3 objects as streams that are downloaded in parts, a few objects ahead of the reader; and queries
//! that wait for their results.

use crate::ports::{Datasets, ListedObject};
use futures_util::stream::{self, StreamExt as _};
use machine::AwsError;
use std::io::{self, Read};
use tokio::sync::{
    mpsc::{Receiver, Sender, channel},
    oneshot,
};

/// Size of a part.
const PART_BYTES: u64 = 4 << 20;
/// Number of objects that are downloaded concurrently, each at most two parts ahead of its reader: 48 MiB.
const OBJECTS_AT_ONCE: usize = 4;

/// An object that is being downloaded. Reading blocks until a part arrives, so it must not happen on the runtime that downloads.
#[derive(Debug)]
pub struct Download {
    parts: Receiver<Result<Vec<u8>, AwsError>>,
    part: Vec<u8>,
    read: usize,
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.part.len() {
            match self.parts.blocking_recv() {
                None => return Ok(0),
                Some(Ok(part)) => (self.part, self.read) = (part, 0),
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
        let count = self.part.get(self.read..).unwrap_or_default().read(buffer)?;
        self.read += count;
        Ok(count)
    }
}

/// Streams of objects, and the future that downloads them. Poll the future while the streams are read in order.
pub fn downloads<'a>(
    clients: &'a impl Datasets,
    bucket: &'a str,
    objects: &'a [ListedObject],
) -> (Vec<Download>, impl Future<Output = ()> + 'a) {
    let (senders, streams): (Vec<_>, Vec<_>) = objects
        .iter()
        .map(|_| {
            let (sender, parts) = channel(1);
            let download = Download {
                parts,
                part: Vec::new(),
                read: 0,
            };
            (sender, download)
        })
        .unzip();
    let all = stream::iter(objects.iter().zip(senders))
        .map(move |(object, sender)| download(clients, bucket, object, sender))
        .buffer_unordered(OBJECTS_AT_ONCE)
        .for_each(async |()| {});
    (streams, all)
}

/// Runs blocking `work` that queries AWS: each query blocks until `answer` has returned its result. `None` if the work was
/// canceled.
pub async fn run_blocking<Q: Send + 'static, A: Send + 'static, T: Send + 'static>(
    work: impl FnOnce(&mut dyn FnMut(Q) -> Option<A>) -> T + Send + 'static,
    answer: impl AsyncFn(Q) -> A,
) -> Option<T> {
    let (asked, mut questions) = channel(1);
    let work = tokio::task::spawn_blocking(move || {
        work(&mut |question| {
            let (answered, answer) = oneshot::channel();
            asked.blocking_send((question, answered)).ok()?;
            answer.blocking_recv().ok()
        })
    });
    while let Some((question, answered)) = questions.recv().await {
        // Fails only if the work no longer waits for the result.
        drop(answered.send(answer(question).await));
    }
    work.await.ok()
}

/// Downloads an object until its end, or until its stream is dropped.
async fn download(
    clients: &impl Datasets,
    bucket: &str,
    object: &ListedObject,
    sender: Sender<Result<Vec<u8>, AwsError>>,
) {
    let (mut from, mut known) = (0, None);
    while from < object.bytes {
        let part = clients
            .part(bucket, &object.key, known.as_ref(), from, PART_BYTES)
            .await;
        let part = part.map(|part| {
            known = Some(part.etag);
            from += part.bytes.len() as u64;
            part.bytes
        });
        let last = part.as_ref().map_or(true, Vec::is_empty);
        if sender.send(part).await.is_err() || last {
            return;
        }
    }
}
