//! From the configuration to the options of the gateway.

use std::sync::Arc;

use downlink_config::sections::LimitsPreset;
use downlink_config::{Config, HumanLimit};
use downlink_domain::id::{GatewayId, HubName};
use downlink_domain::limits::{
    DeviceOperation, DeviceRates, HubOperation, Per, Preset, Rate, RatePlan,
};
use downlink_oidc::Issuers;

use crate::hubs::FurtherHub;
use crate::options::{
    AmqpOptions, GatewayOptions, GrpcOptions, HttpsOptions, LimitsOptions, MqttOptions, SasSwitches,
};

impl GatewayOptions {
    /// Options of the gateway `id` of `hub`, which answers to `host_names`.
    pub fn from_config(
        config: &Config,
        id: GatewayId,
        hub: HubName,
        host_names: Vec<HubName>,
    ) -> Self {
        let Config {
            gateway,
            queue,
            tls,
            methods,
            presence,
            ..
        } = config;
        Self {
            host_names,
            c2d_window: u16::try_from(queue.in_flight_window.get()).unwrap_or(u16::MAX),
            sweep_interval: gateway.sweep_interval.get(),
            handshake_deadline: tls.handshake_deadline.get(),
            access_interval: gateway.access_interval.get(),
            access_stale_limit: gateway.access_stale_limit.get(),
            sas: SasSwitches {
                is_device_off: gateway.disable_device_sas,
                is_module_off: gateway.disable_module_sas,
                is_policy_off: gateway.disable_local_auth,
            },
            max_telemetry_bytes: gateway.max_telemetry_bytes.as_usize(),
            max_method_bytes: methods.max_payload_bytes.as_usize(),
            lease_ttl: presence.lease_ttl.get(),
            lease_renew_interval: presence.lease_renew_interval.get(),
            restore_pace: presence.restore_pace.get(),
            reassert_interval: presence.reassert_interval.get(),
            activity_interval: presence.activity_interval.get(),
            limits: limits(config),
            mqtt: mqtt(config),
            amqp: amqp(config),
            https: https(config),
            grpc: grpc(config),
            ..Self::new(id, hub)
        }
    }
}

impl FurtherHub {
    /// The further hubs of `config`; `open` opens the issuers of one with these host names.
    ///
    /// # Errors
    /// What `open` answers, and names that are none.
    pub fn from_config(
        config: &Config,
        open: impl Fn(&[HubName]) -> anyhow::Result<Arc<Issuers>>,
    ) -> anyhow::Result<Vec<Self>> {
        let further = config.hub.further.values();
        let further = further.map(|hub| {
            let names = hub.host_names().map(str::parse);
            let host_names = names.collect::<Result<Vec<HubName>, _>>()?;
            Ok(Self {
                issuers: open(&host_names)?,
                hub: host_names[0].clone(),
                host_names,
            })
        });
        further.collect()
    }
}

fn limits(config: &Config) -> LimitsOptions {
    let limits = &config.limits;
    let preset = match limits.preset {
        LimitsPreset::None => Preset::None,
        LimitsPreset::S1 => Preset::S1,
        LimitsPreset::S2 => Preset::S2,
        LimitsPreset::S3 => Preset::S3,
    };
    let mut plan = RatePlan {
        hub: preset.rates(limits.units.get()),
        device: DeviceRates::default(),
    };
    let rate = |limit: HumanLimit| match limit {
        HumanLimit::Preset => None,
        HumanLimit::Unlimited => Some(None),
        HumanLimit::Rate {
            count,
            per_seconds,
            burst,
        } => Per::of_seconds(per_seconds).map(|per| Rate::new(count, per, burst).ok()),
    };
    for (name, limit) in limits.hub.each() {
        if let (Some(operation), Some(rate)) = (HubOperation::find(name), rate(limit)) {
            plan.hub.set(operation, rate);
        }
    }
    for (name, limit) in limits.device.each() {
        if let (Some(operation), Some(rate)) = (DeviceOperation::find(name), rate(limit)) {
            plan.device.set(operation, rate);
        }
    }
    LimitsOptions {
        plan,
        max_delay: limits.max_delay.get(),
        max_backlog: limits.max_backlog.get(),
        long_violation: limits.long_violation.get(),
        refresh_interval: limits.refresh_interval.get(),
        exchange_interval: limits.exchange_interval.get(),
        share_timeout: limits.share_timeout.get(),
    }
}

fn mqtt(config: &Config) -> MqttOptions {
    let mqtt = &config.mqtt;
    MqttOptions {
        connect_deadline: mqtt.connect_deadline.get(),
        max_keep_alive: mqtt.max_keep_alive.get(),
        max_subscriptions: usize::from(mqtt.max_subscriptions.get()),
        token_grace: mqtt.token_grace.get(),
        disabled_connack: mqtt.disabled_device_connack.code(),
        write_deadline: mqtt.write_deadline.get(),
        max_output_bytes: mqtt.max_output_bytes.as_usize(),
    }
}

fn amqp(config: &Config) -> AmqpOptions {
    let amqp = &config.amqp;
    AmqpOptions {
        open_deadline: amqp.connect_deadline.get(),
        max_frame_bytes: u32::try_from(amqp.max_frame_bytes.as_usize()).unwrap_or(u32::MAX),
        idle_timeout: amqp.idle_timeout.get(),
        max_sessions: amqp.max_sessions.get(),
        max_links: amqp.max_links.get(),
        token_grace: amqp.token_grace.get(),
        max_tokens: amqp.max_tokens.get(),
        link_credit: amqp.link_credit.get(),
        max_message_bytes: amqp.max_message_bytes.as_usize() as u64,
        max_unsettled: amqp.max_unsettled.get() as usize,
        max_held_bytes: amqp.max_held_bytes.as_usize(),
        write_deadline: amqp.write_deadline.get(),
        max_output_bytes: amqp.max_output_bytes.as_usize(),
    }
}

fn https(config: &Config) -> HttpsOptions {
    let https = &config.https;
    HttpsOptions {
        header_deadline: https.header_deadline.get(),
        body_deadline: https.body_deadline.get(),
        max_body_bytes: https.max_body_bytes.as_usize(),
        write_deadline: https.write_deadline.get(),
        min_poll_interval: https.min_poll_interval.get(),
        has_api_documents: https.api_documents,
    }
}

fn grpc(config: &Config) -> GrpcOptions {
    let grpc = &config.grpc;
    GrpcOptions {
        preface_deadline: grpc.preface_deadline.get(),
        write_deadline: grpc.write_deadline.get(),
        idle_timeout: grpc.idle_timeout.get(),
        max_streams: grpc.max_streams.get(),
        max_message_bytes: grpc.max_message_bytes.as_usize(),
        token_grace: grpc.token_grace.get(),
        max_watchers: usize::try_from(grpc.max_watchers.get()).unwrap_or(usize::MAX),
        watch_interval: grpc.watch_interval.get(),
    }
}
