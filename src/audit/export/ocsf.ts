import type { Act } from '../record.ts';
import { addressOf, attributesOf, errorTypeOf, traceOf } from './attributes.ts';
import { fateOf, sentenceOf, type AuditEvent, type CallEvent } from './event.ts';

/** Version of the schema (https://schema.ocsf.io) whose fields these are. */
export const OCSF_VERSION = '1.8.0';
/** Application Activity / API Activity. */
const CATEGORY_UID = 6;
const CLASS_UID = 6003;
const ACTIVITY = { unknown: 0, create: 1, read: 2, update: 3, delete: 4, other: 99 } as const;
const SEVERITY = { info: [1, 'Informational'], low: [2, 'Low'], medium: [3, 'Medium'], high: [4, 'High'] } as const;

/** An event of the class API Activity, with the profile Security Control. */
export type OcsfEvent = Readonly<Record<string, unknown>>;

/** An event in the form of OCSF. `version` is Culvert's. */
export function ocsfOf(event: AuditEvent, version: string): OcsfEvent {
  const activity = event.kind === 'call' ? activityOfCall(event.intent.method) : activityOfAct(event.act.act);
  const severity = SEVERITY[severityOf(event)];
  const common = {
    category_uid: CATEGORY_UID,
    category_name: 'Application Activity',
    class_uid: CLASS_UID,
    class_name: 'API Activity',
    activity_id: ACTIVITY[activity],
    activity_name: activity === 'other' ? (event.kind === 'call' ? event.intent.method : event.act.act) : capital(activity),
    type_uid: CLASS_UID * 100 + ACTIVITY[activity],
    time: event.at,
    severity_id: severity[0],
    severity: severity[1],
    message: sentenceOf(event),
    unmapped: attributesOf(event),
  };
  const metadata = {
    version: OCSF_VERSION,
    uid: event.id,
    log_name: 'culvert-audit',
    product: { name: 'Culvert', vendor_name: 'Culvert', version },
    profiles: ['security_control'],
  };
  if (event.kind === 'act') {
    const { act } = event;
    return {
      ...common,
      metadata,
      status_id: 1,
      status: 'Success',
      action_id: 1,
      action: 'Allowed',
      disposition_id: 0,
      disposition: 'Unknown',
      actor: { app_name: 'Culvert', session: { uid: act.window } },
      api: { operation: act.act, request: { uid: event.id }, service: { name: 'Culvert' } },
      src_endpoint: { uid: act.window, name: 'window' },
      ...(act.server === undefined && act.subject === undefined
        ? {}
        : {
            resources: [
              { ...(act.server === undefined ? {} : { uid: act.server }), ...(act.subject === undefined ? {} : { name: act.subject }) },
            ],
          }),
    };
  }
  const { intent, outcome } = event;
  const fate = fateOf(event);
  const blocked = fate === 'denied' || fate === 'stopped';
  const error = errorTypeOf(event);
  const address = addressOf(intent.origin);
  const correlation = traceOf(intent.claims['traceparent'])?.traceId ?? intent.claims['conversationId'];
  const name = intent.claims['clientName'];
  return {
    ...common,
    metadata: { ...metadata, ...(correlation === undefined ? {} : { correlation_uid: correlation }) },
    status_id: fate === 'ok' ? 1 : fate === 'unknown' ? 0 : 2,
    status: fate === 'ok' ? 'Success' : fate === 'unknown' ? 'Unknown' : 'Failure',
    ...(error === undefined ? {} : { status_code: error }),
    status_detail: outcome?.error ?? intent.reason,
    action_id: blocked ? 2 : 1,
    action: blocked ? 'Denied' : 'Allowed',
    disposition_id: blocked ? 2 : 1,
    disposition: blocked ? 'Blocked' : 'Allowed',
    policy: {
      uid: intent.decidedBy,
      name: intent.grant === undefined ? 'rule' : 'grant',
      ...(intent.policyDigest === undefined ? {} : { version: intent.policyDigest }),
    },
    actor: {
      app_name: name ?? intent.client,
      app_uid: intent.client,
      session: { uid: intent.claims['conversationId'] ?? intent.window },
    },
    api: {
      operation: intent.tool === undefined ? intent.method : `${intent.method} ${intent.tool}`,
      service: { name: intent.serverLabel, uid: intent.server },
      request: { uid: event.exchange, ...(intent.arguments === undefined ? {} : { data: { arguments: intent.arguments } }) },
      ...(outcome
        ? {
            response: {
              code: outcome.rpcCode ?? outcome.status ?? 0,
              ...(error === undefined ? {} : { error }),
              ...(outcome.error === undefined ? {} : { error_message: outcome.error }),
            },
          }
        : {}),
      ...(intent.protocol === undefined ? {} : { version: intent.protocol }),
    },
    src_endpoint: { uid: intent.window, name: 'window', ...(name === undefined ? {} : { svc_name: name }) },
    dst_endpoint: address
      ? { hostname: address.host, port: address.port, svc_name: intent.serverLabel }
      : { svc_name: intent.serverLabel, name: 'command' },
    resources: [{ uid: intent.server, name: intent.tool ?? intent.method, type: intent.tool === undefined ? 'method' : 'tool' }],
  };
}

function activityOfCall(method: string): keyof typeof ACTIVITY {
  if (method.endsWith('/list') || method.endsWith('/read') || method.endsWith('/get') || method === 'completion/complete') return 'read';
  return 'other';
}

function activityOfAct(act: Act['act']): keyof typeof ACTIVITY {
  if (/-(added|given|sealed|set|started)$/.test(act)) return 'create';
  if (/-(edited|replaced|changed|applied)$/.test(act)) return 'update';
  if (/-(removed|revoked|forgotten|released|ended)$/.test(act)) return 'delete';
  return 'other';
}

function severityOf(event: AuditEvent): keyof typeof SEVERITY {
  if (event.kind === 'act') return event.act.act === 'tampering-found' ? 'high' : 'info';
  return severityOfCall(event);
}

function severityOfCall(event: CallEvent): keyof typeof SEVERITY {
  if ((event.outcome?.findings ?? 0) > 0) return 'high';
  return ({ ok: 'info', failed: 'low', unknown: 'low', denied: 'medium', stopped: 'medium' } as const)[fateOf(event)];
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
