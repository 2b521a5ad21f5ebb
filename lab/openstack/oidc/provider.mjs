// The OIDC provider in the role of EGI Check-in: node provider.mjs PORT CERTIFICATE KEY
//
// Real grants and real JWTs. What a browser would do is replaced by
//   GET /test/mint?sub=alice[&client=dirac][&ttl=5]   a refresh token; its access tokens live ttl seconds
//   GET /test/ttl?seconds=5                           from now on access tokens of all others live so long
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { Provider } from 'oidc-provider';

const [port, certificate, key] = process.argv.slice(2);
const issuer = `https://127.0.0.1:${port}`;
const RESOURCE = 'urn:egi:openstack';
const SCOPE = 'openid profile email offline_access eduperson_entitlement';
const DAY = 86400;
const member = (vo) => `urn:mace:egi.eu:group:${vo}:role=member#aai.egi.eu`;

// Users, and the service account that client credentials stand for. Anybody else exists, and is in no VO.
const ENTITLEMENTS = {
  alice: [member('vo.demo')],
  bob: [member('vo.other')],
  robot: [member('vo.demo'), member('vo.other')],
  'robot-service': [member('vo.demo')],
};
const ROTATING = new Set(['dirac-rotating']); // a refresh token is good for one use, and its reuse ends its whole family

const interactive = (client_id, client_secret) => ({
  client_id,
  client_secret,
  grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  redirect_uris: ['http://127.0.0.1:8000/cb'],
  response_types: ['code'],
});
const service = (client_id, client_secret) => ({
  client_id,
  client_secret,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
});

let lifetime = 3600; // seconds, of access tokens
const lifetimes = new Map(); // grant → seconds
const entitlements = (id) => ({ eduperson_entitlement: ENTITLEMENTS[id] ?? [] });
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

const provider = new Provider(issuer, {
  clients: [
    interactive('dirac', 'dirac-secret'),
    interactive('dirac-rotating', 'rotating-secret'),
    service('robot-service', 'robot-secret'),
  ],
  clientDefaults: { token_endpoint_auth_method: 'client_secret_post' },
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'lab', use: 'sig', alg: 'RS256' }] },
  cookies: { keys: ['lab'] },
  scopes: SCOPE.split(' '),
  claims: { openid: ['sub'], eduperson_entitlement: ['eduperson_entitlement'] },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: `${id}@egi.eu`, ...entitlements(id) }) }),
  extraTokenClaims: (ctx, token) => entitlements(token.accountId ?? token.clientId),
  rotateRefreshToken: (ctx) => ROTATING.has(ctx.oidc.client.clientId),
  ttl: {
    AccessToken: (ctx, token) => lifetimes.get(token.grantId) ?? lifetime,
    ClientCredentials: () => lifetime,
    RefreshToken: 14 * DAY,
    Grant: 14 * DAY,
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: SCOPE, audience: 'egi', accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } }),
    },
  },
});

async function mint(parameters) {
  const accountId = parameters.get('sub');
  const client = await provider.Client.find(parameters.get('client') ?? 'dirac');
  if (!accountId || !client?.grantTypeAllowed('refresh_token')) return undefined;
  const grant = new provider.Grant({ accountId, clientId: client.clientId });
  grant.addOIDCScope(SCOPE);
  grant.addResourceScope(RESOURCE, SCOPE);
  const grantId = await grant.save();
  if (parameters.has('ttl')) lifetimes.set(grantId, Number(parameters.get('ttl')));
  const now = Math.floor(Date.now() / 1000);
  const token = new provider.RefreshToken({
    accountId, client, grantId, scope: SCOPE, resource: RESOURCE, gty: 'authorization_code', authTime: now, iiat: now, rotations: 0,
  });
  return { refresh_token: await token.save() };
}

function setLifetime(parameters) {
  const seconds = Number(parameters.get('seconds'));
  if (!(seconds > 0)) return undefined;
  lifetime = seconds;
  return { seconds };
}

const TEST_CALLS = { '/test/mint': mint, '/test/ttl': setLifetime };
const standard = provider.callback();

createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, async (request, response) => {
  const url = new URL(request.url, issuer);
  const call = TEST_CALLS[url.pathname];
  if (!call) {
    standard(request, response);
    return;
  }
  const answer = await call(url.searchParams);
  response.writeHead(answer ? 200 : 400, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(answer ?? { error: 'invalid_request' }));
}).listen(Number(port), '127.0.0.1', () => console.log(`${issuer} listens`));
