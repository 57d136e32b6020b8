//! AWS for code that blocks: objects of S3 as streams, downloaded in parts, a few objects ahead of the reader; and
//! questions that wait for their answers.

use crate::{
    AwsError,
    ports::{Datasets, ListedObject},
};
use futures_util::stream::{self, StreamExt as _};
use std::io::{self, Read};
use tokio::sync::{
    mpsc::{Receiver, Sender, channel},
    oneshot,
};

/// The size of a part.
const PART: u64 = 4 << 20;
/// So many objects are downloaded at the same time, each at most two parts ahead: 48 MiB.
const OBJECTS_AT_ONCE: usize = 4;

/// An object on its way; reading waits for its parts, and so must not happen on the runtime that downloads them.
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

/// The streams of objects, and what downloads them: to be driven while the streams are read, in their order.
pub fn downloads<'a>(
    world: &'a impl Datasets,
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
        .map(move |(object, sender)| download(world, bucket, object, sender))
        .buffer_unordered(OBJECTS_AT_ONCE)
        .for_each(async |()| {});
    (streams, all)
}

/// Carries out blocking work that asks something of AWS now and then: each question waits for its answer. `None` if the
/// work was given up.
pub async fn asking<Q: Send + 'static, A: Send + 'static, T: Send + 'static>(
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
        // Who does not wait for the answer any more has given up.
        drop(answered.send(answer(question).await));
    }
    work.await.ok()
}

/// Downloads an object until its end, or until nobody reads it any more.
async fn download(
    world: &impl Datasets,
    bucket: &str,
    object: &ListedObject,
    sender: Sender<Result<Vec<u8>, AwsError>>,
) {
    let (mut from, mut known) = (0, None);
    while from < object.bytes {
        let part = world.part(bucket, &object.key, known.as_ref(), from, PART).await;
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
