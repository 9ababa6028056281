//! Requests of services, which are trusted: they publish on any channel, and learn what is known of channels.

use futures_util::future::join_all;

use super::SessionContext;
use super::users::disconnect;
use crate::broker::{ENDED, TOO_LARGE, Unavailable};
use crate::protocol::{
    ChannelCounts, CountsWanted, ServiceCommand, ServicePublication, ServiceRefused, ServiceReply,
};
use crate::publication::{Channel, Members, Position};
use crate::telemetry;

/// The most channels of one answer.
const CHANNELS_MAX: usize = 10_000;

/// Answers a request.
pub async fn answer(
    context: &SessionContext,
    command: ServiceCommand,
) -> Result<ServiceReply, ServiceRefused> {
    match command {
        ServiceCommand::Publish(publications) => publish(context, publications).await,
        ServiceCommand::Channels { prefix, is_counted, counts } => {
            let channels = occupied(context, prefix, is_counted).await?;
            let each = counts_of(context, channels, counts).await?;
            Ok(ServiceReply::Channels(each.into_iter().filter(|it| it.is_occupied).collect()))
        }
        ServiceCommand::Channel { channel, counts } => {
            let mut each = counts_of(context, vec![channel], counts).await?;
            each.pop()
                .map(ServiceReply::Channel)
                .ok_or_else(|| ServiceRefused::new(500, "no count"))
        }
        ServiceCommand::Members(channel) => {
            members(context, channel).await.map(ServiceReply::Members)
        }
        ServiceCommand::Disconnect(user) => {
            let (_, stored) = disconnect(context.hub.broker(), &context.users, &user).await;
            stored.map(|()| ServiceReply::Disconnected).map_err(refused)
        }
    }
}

/// Publishes all, and answers once the broker has answered each. If one fails, the others may be published.
async fn publish(
    context: &SessionContext,
    publications: Vec<ServicePublication>,
) -> Result<ServiceReply, ServiceRefused> {
    let (mut receipts, mut wanted) = (Vec::new(), Vec::new());
    for ServicePublication { channel, publication, counts } in publications {
        let mut publication = publication.sent_now();
        let trace = telemetry::api_publication_received(&channel, &mut publication);
        let policy = || context.hub.rules().of(channel.as_str());
        let event = context.events.publication(&channel, policy, &publication);
        wanted.push((channel.clone(), counts));
        receipts.push((context.hub.publish(channel, publication), trace, event));
    }
    let answers = receipts.into_iter().map(|(receipt, trace, event)| async {
        let answer: Result<Option<Position>, Unavailable> = receipt.await;
        if let Ok(position) = answer {
            context.events.published(event, position);
        }
        telemetry::api_publication_answered(trace, answer.map_err(|why| why.0));
        answer
    });
    for answer in join_all(answers).await {
        answer.map_err(refused)?;
    }
    let mut known = Vec::with_capacity(wanted.len());
    for (channel, counts) in wanted {
        known.push(match counts.any() {
            true => counts_of(context, vec![channel], counts).await?.pop(),
            false => None,
        });
    }
    Ok(ServiceReply::Published(known))
}

/// The channels of all nodes that begin with the prefix.
async fn occupied(
    context: &SessionContext,
    prefix: String,
    is_counted: fn(&str) -> bool,
) -> Result<Vec<Channel>, ServiceRefused> {
    let bytes = prefix.len();
    let is_wanted = |channel: &Channel| {
        channel.as_str().get(..bytes) == Some(&*prefix) && is_counted(&channel.as_str()[bytes..])
    };
    let local = context.hub.registry().channels().into_iter().map(|count| count.channel);
    let mut channels = match context.hub.broker().channels(&prefix).await.map_err(refused)? {
        Some(channels) => channels,
        None => local.collect(),
    };
    channels.retain(is_wanted);
    channels.sort();
    channels.dedup();
    match channels.len() > CHANNELS_MAX {
        true => Err(ServiceRefused::new(
            413,
            format!("more than {CHANNELS_MAX} channels: name a longer prefix"),
        )),
        false => Ok(channels),
    }
}

/// What is known of the channels over all nodes.
async fn counts_of(
    context: &SessionContext,
    channels: Vec<Channel>,
    wanted: CountsWanted,
) -> Result<Vec<ChannelCounts>, ServiceRefused> {
    let broker = context.hub.broker();
    let nodes = broker.nodes(channels.clone()).await.map_err(refused)?;
    let is_alone = broker.kind() == "memory";
    let mut counts = Vec::with_capacity(channels.len());
    for (channel, nodes) in channels.into_iter().zip(nodes) {
        let here = context.hub.registry().subscribers(&channel);
        let subscriptions = match nodes {
            _ if is_alone => Some(here),
            0 => Some(0),
            // The only node with subscribers is this one.
            1 if here > 0 => Some(here),
            // How many there are on the other nodes is not known.
            _ => None,
        };
        let is_occupied = here > 0 || (!is_alone && nodes > 0);
        let members = match wanted.members {
            true if is_occupied => member_count(context, channel.clone()).await?,
            true => Some(0),
            false => None,
        };
        let subscriptions = subscriptions.filter(|_| wanted.subscriptions);
        counts.push(ChannelCounts { channel, is_occupied, members, subscriptions });
    }
    Ok(counts)
}

/// How many users are members. None: the channel keeps no presence, or has more members than a list holds.
async fn member_count(
    context: &SessionContext,
    channel: Channel,
) -> Result<Option<usize>, ServiceRefused> {
    if !context.hub.rules().of(channel.as_str()).presence {
        return Ok(None);
    }
    let members = members(context, channel).await?;
    let named = members.list.iter().filter(|member| member.user.is_some()).count();
    Ok((!members.truncated).then_some(named))
}

async fn members(context: &SessionContext, channel: Channel) -> Result<Members, ServiceRefused> {
    match context.hub.rules().of(channel.as_str()).presence {
        true => context.presence.members(channel).await.map_err(refused),
        false => Err(ServiceRefused::new(
            400,
            context.hub.rules().explain_not_kept("presence", channel.as_str()),
        )),
    }
}

fn refused(why: Unavailable) -> ServiceRefused {
    let status = match why {
        TOO_LARGE => 413,
        ENDED => 409,
        _ => 503,
    };
    ServiceRefused::new(status, why.to_string())
}
