import { X509Certificate, hash } from 'node:crypto';
import type { DetailedPeerCertificate } from 'node:tls';
import { visible } from '../common/text.ts';

/** Characters of a name in a certificate that are shown; whoever made the certificate chose them. */
const MAX_NAME_CHARACTERS = 80;
/** Host names of a certificate that are shown. */
const MAX_NAMES_SHOWN = 5;
/** Certificates that are followed from the leaf up. */
const MAX_PATH = 10;

/** SHA-256 of a certificate's SubjectPublicKeyInfo, base64: a pin as in RFC 7469, 2.4. */
export function pinOf(certificate: X509Certificate): string {
  return hash('sha256', certificate.publicKey.export({ type: 'spki', format: 'der' }), 'base64');
}

/** A certificate for people. Its texts come from whoever made it; nothing invisible is left in them. */
export interface CertificateSummary {
  readonly subject: string;
  readonly issuer: string;
  /** Hosts it is for, at most a few, then an ellipsis. */
  readonly names: readonly string[];
  /** Days, `YYYY-MM-DD`, UTC. */
  readonly validFrom: string;
  readonly validTo: string;
  /** {@link pinOf} of it. */
  readonly pin: string;
}

/** What a person needs to recognise a certificate. */
export function summaryOf(certificate: X509Certificate): CertificateSummary {
  const names = namesOf(certificate);
  return {
    subject: nameOf(certificate.subject) ?? names[0] ?? 'nobody',
    issuer: nameOf(certificate.issuer) ?? 'nobody',
    names: names.length > MAX_NAMES_SHOWN ? [...names.slice(0, MAX_NAMES_SHOWN), '…'] : names,
    validFrom: dayOf(certificate.validFrom),
    validTo: dayOf(certificate.validTo),
    pin: pinOf(certificate),
  };
}

/** {@link CertificateSummary} in one sentence. */
export function describeCertificate({ subject, issuer, validFrom, validTo, pin }: CertificateSummary): string {
  return `The certificate: ${subject}, issued by ${issuer}, valid from ${validFrom} to ${validTo}, key SHA-256 ${pin}.`;
}

/**
 * The certificates from the one that was shown up to the root, as far as each is signed by the key of the next and the next may sign.
 * Node links what came over the wire by names alone, so that a stranger could add a certificate that has nothing to do with the first.
 */
export function signedPath(leaf: DetailedPeerCertificate): X509Certificate[] {
  const path: X509Certificate[] = [];
  // Without a certificate Node gives an empty object; the last may have no issuer, or itself.
  for (let at: Partial<DetailedPeerCertificate> | undefined = leaf; at?.raw && path.length < MAX_PATH; at = at.issuerCertificate) {
    const next = new X509Certificate(at.raw);
    const last = path.at(-1);
    if (last && (!next.ca || last.fingerprint256 === next.fingerprint256 || !last.verify(next.publicKey))) break;
    path.push(next);
    if (at.issuerCertificate === at) break;
  }
  return path;
}

function namesOf({ subjectAltName }: X509Certificate): string[] {
  if (subjectAltName === undefined) return [];
  return [...subjectAltName.matchAll(/(?:DNS|IP Address):("(?:[^"\\]|\\.)*"|[^,]+)/g)].map(([, name = '']) =>
    visible(name.replace(/^"|"$/g, '').trim(), MAX_NAME_CHARACTERS),
  );
}

/** Common name, else organisation, of a distinguished name as Node writes it: one attribute a line. */
function nameOf(distinguished: string | undefined): string | undefined {
  const attribute = (key: string) => new RegExp(`^${key}=(.+)$`, 'm').exec(distinguished ?? '')?.[1];
  const name = attribute('CN') ?? attribute('O') ?? attribute('OU');
  return name === undefined ? undefined : visible(name, MAX_NAME_CHARACTERS);
}

function dayOf(time: string): string {
  const at = new Date(time);
  return Number.isNaN(at.getTime()) ? visible(time, MAX_NAME_CHARACTERS) : at.toISOString().slice(0, 10);
}
