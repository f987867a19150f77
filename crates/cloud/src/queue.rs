use crate::{CloudError, Queue};
use async_trait::async_trait;
use aws_sdk_sqs::{Client, types::MessageAttributeValue};

/// [`Queue`] on SQS.
#[derive(Clone)]
pub struct SqsQueue {
    client: Client,
    url: String,
}

impl SqsQueue {
    pub(crate) fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }
}

#[async_trait]
impl Queue for SqsQueue {
    async fn send(&self, body: &str, group: &str, trace_id: &str) -> Result<(), CloudError> {
        let trace = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(trace_id)
            .build()
            .map_err(|e| CloudError::new("sqs:SendMessage", crate::Kind::Rejected, e))?;
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .message_group_id(group)
            .message_attributes("trace_id", trace)
            .send()
            .await
            .map(drop)
            .map_err(|e| CloudError::from_sdk("sqs:SendMessage", e))
    }
}
