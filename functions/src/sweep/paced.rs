//! AWS with paced requests: SageMaker's `List…` and `Describe…`, and those of CloudWatch, wait for a token, and are repeated if they
//! are throttled.

use alerting::{AlertStatus, ExecutionWindow, Metric};
use events::Event;
use jiff::Timestamp;
use machine::{AwsError, Clock, Documents, ETag, Fetched, ListedDocument, Precondition};
use remediation::{PipelineExecution, RiskRating, StartPipelineExecution, StartStateMachine};
use shell::{
    pace::TokenBucket,
    ports::{
        AlarmNames, AlarmPage, Alarms, DescribedJob, EventBus, ExecutionPage, FetchedObject, Metrics, ModelCards,
        MonitoringAlerts, MonitoringExecution, MonitoringSchedules, PipelineExecutionPage, Pipelines, ProcessingJobs,
        Reports, Schedule, StateMachines,
    },
};
use std::{collections::BTreeMap, ops::Range, time::Duration};

/// AWS clients with a token bucket for the requests that AWS limits per account.
#[derive(Debug)]
pub(crate) struct Paced<'a, W> {
    pub(crate) clients: &'a W,
    pub(crate) bucket: &'a TokenBucket,
}

impl<W: Clock> Paced<'_, W> {
    async fn send<T>(&self, request: impl AsyncFn() -> Result<T, AwsError>) -> Result<T, AwsError> {
        self.bucket.send(self.clients, request).await
    }
}

impl<W: Documents> Documents for Paced<'_, W> {
    async fn read(&self, key: &str, known: Option<&ETag>) -> Result<Fetched, AwsError> {
        self.clients.read(key, known).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ListedDocument>, AwsError> {
        self.clients.list(prefix).await
    }

    async fn earlier_versions(&self, key: &str) -> Result<Vec<Vec<u8>>, AwsError> {
        self.clients.earlier_versions(key).await
    }

    async fn write(&self, key: &str, body: Vec<u8>, precondition: &Precondition) -> Result<ETag, AwsError> {
        self.clients.write(key, body, precondition).await
    }
}

impl<W: EventBus> EventBus for Paced<'_, W> {
    async fn put(&self, event: &Event) -> Result<(), AwsError> {
        self.clients.put(event).await
    }
}

impl<W: Pipelines + Clock> Pipelines for Paced<'_, W> {
    async fn start(&self, start: &StartPipelineExecution) -> Result<String, AwsError> {
        self.clients.start(start).await
    }

    async fn parameters(&self, execution_arn: &str) -> Result<BTreeMap<String, String>, AwsError> {
        self.send(async || self.clients.parameters(execution_arn).await).await
    }

    async fn executions_of_pipeline(
        &self,
        pipeline: &str,
        next: Option<&str>,
    ) -> Result<PipelineExecutionPage, AwsError> {
        self.send(async || self.clients.executions_of_pipeline(pipeline, next).await)
            .await
    }

    async fn execution(&self, execution_arn: &str) -> Result<Option<PipelineExecution>, AwsError> {
        self.send(async || self.clients.execution(execution_arn).await).await
    }
}

impl<W: Alarms + Clock> Alarms for Paced<'_, W> {
    async fn describe_alarms(&self, names: AlarmNames<'_>, next: Option<&str>) -> Result<AlarmPage, AwsError> {
        self.send(async || self.clients.describe_alarms(names, next).await)
            .await
    }
}

impl<W: StateMachines> StateMachines for Paced<'_, W> {
    async fn start_execution(&self, start: &StartStateMachine) -> Result<String, AwsError> {
        self.clients.start_execution(start).await
    }

    async fn describe_execution(&self, arn: &str) -> Result<Option<PipelineExecution>, AwsError> {
        self.clients.describe_execution(arn).await
    }
}

impl<W: ModelCards + Clock> ModelCards for Paced<'_, W> {
    async fn risk_rating(&self, card: &str) -> Result<RiskRating, AwsError> {
        self.send(async || self.clients.risk_rating(card).await).await
    }
}

impl<W: Reports> Reports for Paced<'_, W> {
    async fn report(&self, bucket: &str, key: &str, limit: u64) -> Result<FetchedObject, AwsError> {
        self.clients.report(bucket, key, limit).await
    }
}

impl<W: Metrics> Metrics for Paced<'_, W> {
    async fn publish(&self, namespace: &str, metrics: &[Metric]) -> Result<(), AwsError> {
        self.clients.publish(namespace, metrics).await
    }
}

impl<W: ProcessingJobs + Clock> ProcessingJobs for Paced<'_, W> {
    async fn describe(&self, name: &str) -> Result<DescribedJob, AwsError> {
        self.send(async || self.clients.describe(name).await).await
    }
}

impl<W: MonitoringAlerts + Clock> MonitoringAlerts for Paced<'_, W> {
    async fn monitoring_alert(&self, schedule: &str) -> Result<Option<ExecutionWindow>, AwsError> {
        self.send(async || self.clients.monitoring_alert(schedule).await).await
    }

    async fn monitoring_alert_history(&self, schedule: &str) -> Result<Vec<(Timestamp, AlertStatus)>, AwsError> {
        self.send(async || self.clients.monitoring_alert_history(schedule).await)
            .await
    }
}

impl<W: MonitoringSchedules + Clock> MonitoringSchedules for Paced<'_, W> {
    async fn schedules(&self) -> Result<Vec<Schedule>, AwsError> {
        self.send(async || self.clients.schedules().await).await
    }

    async fn schedule_expression(&self, schedule: &str) -> Result<String, AwsError> {
        self.send(async || self.clients.schedule_expression(schedule).await)
            .await
    }

    async fn executions(
        &self,
        schedule: &str,
        scheduled_after: Timestamp,
    ) -> Result<Vec<MonitoringExecution>, AwsError> {
        self.send(async || self.clients.executions(schedule, scheduled_after).await)
            .await
    }

    async fn executions_of_all(
        &self,
        scheduled_after: Timestamp,
        next: Option<&str>,
    ) -> Result<ExecutionPage, AwsError> {
        self.send(async || self.clients.executions_of_all(scheduled_after, next).await)
            .await
    }
}

impl<W: Clock> Clock for Paced<'_, W> {
    fn now(&self) -> Timestamp {
        self.clients.now()
    }

    async fn sleep(&self, duration: Duration) {
        self.clients.sleep(duration).await;
    }

    async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        self.clients.within(limit, work).await
    }

    fn random(&self, range: Range<u64>) -> u64 {
        self.clients.random(range)
    }
}
