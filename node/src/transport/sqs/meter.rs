//! Counts what SQS bills, and what else has happened.
//! Invariant: every request that is sent is counted when it is sent, answered or not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_sdk_sqs::config::interceptors::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
    FinalizerInterceptorContextRef,
};
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use aws_sdk_sqs::operation::receive_message::ReceiveMessageOutput;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchInput;
use aws_sdk_sqs::types::MessageAttributeValue;

use crate::transport::Usage;

/// Each so many bytes of payload are billed as a request.
const BILLED_BYTES: usize = 64 << 10;
/// The list price of FIFO requests, the same in most regions; the first million a month is free.
const USD_PER_MILLION: f64 = 0.50;
/// Begins the header that names the operation.
const TARGET: &str = "AmazonSQS.";
const RECEIVE: &str = "ReceiveMessage";
const SEND: &str = "SendMessageBatch";
/// The operations that are used here; the names live as long as the program.
const OPERATIONS: &[&str] = &[
    "ChangeMessageVisibilityBatch",
    "CreateQueue",
    "DeleteMessageBatch",
    "DeleteQueue",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListQueueTags",
    "ListQueues",
    "PurgeQueue",
    RECEIVE,
    SEND,
    "SetQueueAttributes",
    "TagQueue",
];

/// The counts, shared by all who change or read them.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    requests: BTreeMap<&'static str, u64>,
    events: BTreeMap<&'static str, u64>,
}

impl Meter {
    /// Counts something that is not a request.
    pub(super) fn count(&self, event: &'static str) {
        *self.counts().events.entry(event).or_default() += 1;
    }

    /// What was counted so far.
    pub(super) fn usage(&self) -> Usage {
        let counts = self.counts();
        let total: u64 = counts.requests.values().sum();
        // Counts are far below 2^53.
        let cost_usd = total as f64 * USD_PER_MILLION / 1e6;
        Usage { requests: counts.requests.clone(), cost_usd, events: counts.events.clone() }
    }

    fn bill(&self, operation: &str, requests: usize) {
        let known = OPERATIONS.iter().find(|name| **name == operation).copied();
        *self.counts().requests.entry(known.unwrap_or("other")).or_default() += requests as u64;
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().expect("nothing that holds the lock panics")
    }
}

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn read_before_serialization(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(sent) = context.input().downcast_ref::<SendMessageBatchInput>() {
            // One is counted below. A call is one attempt: the SDK makes no others.
            self.bill(SEND, billed(sent_bytes(sent)) - 1);
        }
        Ok(())
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context.request().headers().get("x-amz-target").unwrap_or_default();
        self.bill(target.strip_prefix(TARGET).unwrap_or(target), 1);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let output = context.output_or_error().and_then(Result::ok);
        if let Some(received) = output.and_then(|output| output.downcast_ref::<ReceiveMessageOutput>()) {
            // One was counted when the request was sent.
            self.bill(RECEIVE, billed(received_bytes(received)) - 1);
        }
        Ok(())
    }
}

fn billed(bytes: usize) -> usize {
    bytes.div_ceil(BILLED_BYTES).max(1)
}

fn sent_bytes(input: &SendMessageBatchInput) -> usize {
    let entries = input.entries.iter().flatten();
    entries
        .map(|entry| entry.message_body.len() + attribute_bytes(entry.message_attributes.iter().flatten()))
        .sum()
}

fn received_bytes(output: &ReceiveMessageOutput) -> usize {
    let bytes = |message: &aws_sdk_sqs::types::Message| {
        let body = message.body.as_ref().map_or(0, String::len);
        body + attribute_bytes(message.message_attributes.iter().flatten())
    };
    output.messages().iter().map(bytes).sum()
}

fn attribute_bytes<'a>(attributes: impl Iterator<Item = (&'a String, &'a MessageAttributeValue)>) -> usize {
    let value = |value: &MessageAttributeValue| {
        value.data_type.len()
            + value.string_value.as_ref().map_or(0, String::len)
            + value.binary_value.as_ref().map_or(0, |blob| blob.as_ref().len())
    };
    attributes.map(|(name, it)| name.len() + value(it)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_64_kib_are_a_request() {
        for (bytes, requests) in [(0, 1), (1, 1), (65_536, 1), (65_537, 2), (262_144, 4), (1 << 20, 16)] {
            assert_eq!(billed(bytes), requests, "{bytes} bytes");
        }
    }

    #[test]
    fn a_million_requests_cost_half_a_dollar() {
        let meter = Meter::default();
        meter.bill(RECEIVE, 600_000);
        meter.bill(SEND, 400_000);
        meter.bill("NewOperation", 1);
        let usage = meter.usage();
        assert_eq!(
            usage.requests.into_iter().collect::<Vec<_>>(),
            [("ReceiveMessage", 600_000), ("SendMessageBatch", 400_000), ("other", 1)]
        );
        assert!((usage.cost_usd - 0.500_000_5).abs() < 1e-9, "{}", usage.cost_usd);
    }
}
