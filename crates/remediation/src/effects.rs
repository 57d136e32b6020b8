//! How the effects of a model end: which failures of AWS are an answer, and which are attempted again.

use crate::{ModelDocument, ModelEffect, ModelEffectOutcome};
use jiff::{SignedDuration, Timestamp};
use machine::{AwsError, Kind, Outbox, OutboxDocument};

/// Time for which a start that is denied is attempted again.
const DENIED_FOR: SignedDuration = SignedDuration::from_mins(15);

impl OutboxDocument for ModelDocument {
    type Effect = ModelEffect;
    type Done = ModelEffectOutcome;

    fn outbox(&mut self) -> &mut Outbox<ModelEffect> {
        &mut self.outbox
    }

    fn note(&mut self, effect: &ModelEffect, outcome: ModelEffectOutcome) {
        self.record_outcome(effect, outcome);
    }

    fn refusal(effect: &ModelEffect, error: &AwsError, since: Timestamp, now: Timestamp) -> Option<ModelEffectOutcome> {
        let is_refused = match error.kind {
            Kind::Rejected | Kind::NotFound => true,
            // The permissions of a new role take effect after some minutes.
            Kind::Denied => now.duration_since(since) >= DENIED_FOR,
            Kind::Transient | Kind::Conflict => false,
        };
        (is_refused && effect.is_start()).then(|| ModelEffectOutcome::Refused(error.to_string()))
    }

    /// The deadline of the stage ends the attempts to start a retraining.
    fn is_given_up(effect: &ModelEffect) -> bool {
        !effect.is_start()
    }
}
