//! Documents without effects that several functions share.

use crate::{
    AwsError, Clock, Documents, ETag, Fetched, Kind, UpdateError,
    document::{back_off, parse_document, write},
};
use serde::{Serialize, de::DeserializeOwned};

/// Newest format version of shared documents that this release supports.
const SHARED_VERSION: u64 = 1;

/// Loads a document without effects that several functions share. A document that does not exist is the default.
///
/// # Errors
/// If the call to AWS fails, or the document cannot be parsed.
pub async fn load_shared<T: DeserializeOwned + Default>(clients: &impl Documents, key: &str) -> Result<T, UpdateError> {
    Ok(read_shared(clients, key).await?.0)
}

/// Changes a document without effects that several functions share, by a conditional write. If another writer was faster, `change`
/// is called again on the newer document. The result of the last call is returned.
///
/// # Errors
/// If a call to AWS fails, or the document cannot be parsed.
pub async fn update_shared<T: Serialize + DeserializeOwned + Default + Clone + PartialEq, R>(
    clients: &(impl Documents + Clock),
    key: &str,
    change: impl Fn(&mut T) -> R,
) -> Result<R, UpdateError> {
    let mut attempt = 0;
    loop {
        let (before, etag) = read_shared::<T>(clients, key).await?;
        let mut document = before.clone();
        let result = change(&mut document);
        if document == before {
            return Ok(result);
        }
        match write(clients, key, &document, etag.as_ref()).await {
            Ok(_) => return Ok(result),
            Err(UpdateError::Aws(AwsError {
                kind: Kind::Conflict, ..
            })) => back_off(clients, key, &mut attempt).await?,
            Err(error) => return Err(error),
        }
    }
}

async fn read_shared<T: DeserializeOwned + Default>(
    clients: &impl Documents,
    key: &str,
) -> Result<(T, Option<ETag>), UpdateError> {
    match clients.read(key, None).await? {
        Fetched::Absent | Fetched::Unchanged => Ok((T::default(), None)),
        Fetched::Found(body, etag) => Ok((parse_document(key, &body, SHARED_VERSION)?, Some(etag))),
    }
}
