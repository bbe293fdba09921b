// The journey of issue 2 in a real browser: set-up, two people, two phones that
// turn green, a call that shows live, its record, a voicemail that plays.
//
// PBX_URL       where the program listens
// SHOTS         folder for screenshots
// ADMIN_EMAIL, ADMIN_PASSWORD   the administrator that set-up makes
// SETUP_TOKEN   the code of the console, when it is asked for
import assert from 'node:assert/strict';
import { openBrowser } from './browser.mjs';
import { call, hangUp, register, unregister } from './phones.mjs';

const base = (process.env.PBX_URL ?? 'http://127.0.0.1:8080').replace(/\/+$/, '');
const email = process.env.ADMIN_EMAIL ?? 'ada@acme.test';
const password = process.env.ADMIN_PASSWORD ?? 'correct horse battery';
const { context, look, problems, close } = await openBrowser({ base, shots: process.env.SHOTS });
const page = await context();
const button = (name, scope = page) => scope.getByRole('button', { name, exact: true });
const heading = (name) => page.getByRole('heading', { name, exact: true, level: 1 }).waitFor();
const go = (path) => page.goto(base + path);
const toast = (text) => page.getByRole('region', { name: 'Notifications' }).getByText(text).first().waitFor();
const began = Date.now();

try {
  await setUp();
  await liveCall();
  await voicemail();
  await users();
  await devices();
  await carriers();
  await reach();
  await security();
  await settings();
  await everywhere();
  await member();
  assert.deepEqual(problems, []);
  console.log(`the journey took ${Math.round((Date.now() - began) / 1000)} s`);
} catch (e) {
  if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/failed.png`, fullPage: true }).catch(() => {});
  console.error(`at ${page.url()}\n${e.stack}\nproblems: ${JSON.stringify(problems, null, 2)}`);
  process.exitCode = 1;
} finally {
  await close();
  process.stdin.destroy();
}

async function setUp() {
  await go('/users');
  await heading('Welcome to Branchline');
  if (process.env.SETUP_TOKEN) await page.getByLabel('Set-up code').fill(process.env.SETUP_TOKEN);
  await page.getByLabel('Name of your organisation').fill('Acme');
  await page.getByLabel('Your name').fill('Ada Lovelace');
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password', { exact: true }).fill('short');
  await button('Create account').click();
  await page.getByText('Password must have at least 12 characters.').waitFor();
  await page.getByLabel('Password', { exact: true }).fill(password);
  await look(page, '01-setup-administrator');
  await button('Create account').click();

  await heading('Check the network');
  await page.getByText('The event stream is open.').waitFor();
  await page.getByText('Database, SIP and sound are ready.').waitFor();
  await look(page, '02-setup-network');
  await button('Continue').click();

  await heading('Add people');
  await page.getByLabel('Name, row 2').fill('Bob Cho');
  await page.getByLabel('Email, row 2').fill('bob@acme.test');
  // A reload loses nothing.
  await page.reload();
  await heading('Add people');
  assert.equal(await page.getByLabel('Name, row 2').inputValue(), 'Bob Cho');
  assert.equal(await page.getByLabel('Extension, row 2').inputValue(), '102');
  await look(page, '03-setup-people');
  await button('Continue').click();

  await heading('Give each a phone');
  for (const name of ['Ada Lovelace', 'Bob Cho']) {
    const card = page.getByRole('region', { name: `Phone of ${name}` });
    await button('Make credentials', card).click();
    await card.getByText('User name').waitFor();
    await button('Show password', card).waitFor();
    await card.getByText('Waiting…').waitFor();
  }
  await look(page, '04-setup-phones');
  await register('101');
  await page.getByRole('region', { name: 'Phone of Ada Lovelace' }).getByText('Registered').waitFor();
  await register('102');
  await page.getByRole('region', { name: 'Phone of Bob Cho' }).getByText('Registered').waitFor();
  await look(page, '05-setup-phones-green');
  await button('Continue').click();

  await heading('Make the first call');
  await call('101', '102');
  await page.getByText('The call was answered. Your phone system works.').waitFor();
  await page.getByText(/Talking for/).waitFor();
  await look(page, '06-setup-first-call');
  await hangUp('101');
  await page.getByText('It works.').waitFor();
  await button('Finish').click();
  await heading('Hello, Ada');
}

async function liveCall() {
  const now = page.getByRole('region', { name: 'Calls now' });
  await now.getByText('All quiet.').waitFor();
  await call('101', '102');
  await now.getByText('Talking').waitFor();
  await now.getByText('Bob Cho').waitFor();
  await page.getByRole('region', { name: 'Phones' }).getByText('of 2').waitFor();
  await look(page, '10-home-live');

  await go('/calls?tab=now');
  await page.getByRole('tab', { name: 'Now (1)' }).waitFor();
  await look(page, '11-calls-now');
  await button('Hang up Ada Lovelace and Bob Cho').click();
  await page.getByText('Nobody is on the phone.').waitFor();

  await page.getByRole('tab', { name: 'History' }).click();
  await page.waitForURL(/tab=history/);
  const rows = page.getByRole('table', { name: 'History' }).locator('tbody tr');
  await rows.nth(1).waitFor();
  await rows.first().getByText('Answered').waitFor();
  await look(page, '12-calls-history');
  await rows.first().getByRole('link').first().click();
  await heading('Ada Lovelace to Bob Cho');
  await page.getByText(/Ada Lovelace \(101\) called Bob Cho \(102\), answered after/).waitFor();
  await page.getByRole('region', { name: 'Story' }).getByText('Talking').waitFor();
  await page.getByRole('region', { name: 'Why it went this way' }).getByRole('listitem').first().waitFor();
  await look(page, '13-call');
  await page.getByRole('tab', { name: 'SIP' }).click();
  await page.waitForURL(/tab=sip/);
  const ladder = page.getByRole('table', { name: 'SIP messages' });
  await ladder.getByRole('button', { name: /^From Ada Lovelace to Branchline: INVITE/ }).last().click();
  await ladder.getByText(/^INVITE sip:102/).waitFor();
  await ladder.getByText(/Content-Type: application\/sdp/i).waitFor();
  assert.equal(await ladder.getByText(/response="[0-9a-f]{32,}"/).count(), 0);
  await look(page, '14-call-sip');
  const [capture] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download pcap' }).click()]);
  assert.match(capture.suggestedFilename(), /\.pcap$/);
  await page.goBack();
  await page.goBack();
  await page.waitForURL(/tab=history/);
}

async function voicemail() {
  await unregister('101');
  await call('102', '101');
  await go('/calls');
  await page.getByText('Leaving voicemail').waitFor();
  // A message that is worth keeping takes a moment to say.
  await page.waitForFunction((since) => Date.now() - since > 12_000, Date.now());
  await hangUp('102');
  await page.getByRole('link', { name: /^Voicemail 1 new message$/ }).click();
  await heading('Voicemail');
  await button('Play').waitFor();
  await look(page, '20-voicemail');
  await page.keyboard.press('Space');
  await page.waitForFunction(() => (document.querySelector('audio')?.currentTime ?? 0) > 0.5);
  await button('Pause').waitFor();
  const slider = page.getByRole('slider', { name: 'Position' });
  assert.match(await slider.getAttribute('aria-valuetext'), /^0:\d\d of 0:\d\d$/);
  await page.keyboard.press('Space');
  await button('Play').waitFor();
  await button('Mark as new').click();
  await button('Mark as heard').waitFor();
  // Deleting can be undone.
  await page.keyboard.press('d');
  await page.getByText('No messages.').waitFor();
  await button('Undo').click();
  await page.getByRole('region', { name: 'Messages' }).getByText('Bob Cho').click();
  await button('Play').waitFor();
}

async function users() {
  await go('/users');
  await heading('Users');
  const table = page.getByRole('table', { name: 'Users' });
  await table.locator('tbody tr').nth(1).waitFor();
  await button('New User').click();
  const dialog = page.getByRole('dialog', { name: 'New User' });
  await button('Create User', dialog).click();
  await dialog.getByText('Name is required.').waitFor();
  await dialog.getByText('Enter a valid email address.').waitFor();
  await dialog.getByLabel('Name', { exact: true }).fill('Grace <b>Hopper</b>');
  await dialog.getByLabel('Email', { exact: true }).fill('bob@acme.test');
  await dialog.getByLabel('Extension').fill('101');
  await button('Create User', dialog).click();
  await dialog.getByText(/already/).first().waitFor();
  await look(page, '30-new-user-errors');
  await dialog.getByLabel('Email', { exact: true }).fill('grace@acme.test');
  await dialog.getByLabel('Extension').fill('103');
  await dialog.getByLabel('Temporary password (optional)').fill(password);
  await button('Create User', dialog).click();
  await table.getByText('Grace <b>Hopper</b>').waitFor();
  await page.getByRole('searchbox', { name: 'Search' }).fill('grace@');
  await page.waitForURL(/q=grace/);
  await page.waitForFunction(() => document.querySelectorAll('table[aria-label=Users] tbody tr').length === 1);
  await page.reload();
  assert.equal(await page.getByRole('searchbox', { name: 'Search' }).inputValue(), 'grace@');
  await page.getByRole('searchbox', { name: 'Search' }).fill('');
  await page.waitForFunction(() => document.querySelectorAll('table[aria-label=Users] tbody tr').length === 3);
  await look(page, '31-users');

  // The whole of a user's page works with the keyboard alone.
  await table.getByRole('link', { name: /Grace/ }).focus();
  await page.keyboard.press('Enter');
  await button('Edit name').focus();
  await page.keyboard.press('Enter');
  await page.keyboard.type('Grace Hopper');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Grace Hopper', level: 1 }).waitFor();
  await toast('Saved');
  await button('Edit extension').focus();
  await page.keyboard.press('Enter');
  await page.keyboard.type('101');
  await page.keyboard.press('Enter');
  await page.getByText('Extension 101 is already used by Ada Lovelace.').waitFor();
  await page.keyboard.press('Escape');
  await button('Edit extension').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('aria-label')), 'Edit extension');
  await page.getByLabel('PIN', { exact: true }).fill('1234');
  await button('Save').click();
  await page.getByText(/too easy to guess/).waitFor();
  await page.getByLabel('PIN', { exact: true }).fill('4862');
  await button('Save').click();
  await button('Remove PIN').waitFor();
  await button('Assign Device').click();
  await page.getByRole('tab', { name: 'New deskphone' }).click();
  const assign = page.getByRole('dialog', { name: 'Assign Device' });
  await assign.getByLabel('MAC address').fill('80-5E-C0-12-34-56');
  await assign.getByLabel('Model').click();
  await page.getByRole('option').first().click();
  await look(page, '32-assign-device');
  await button('Create and assign', assign).click();
  await page.getByRole('region', { name: 'Devices' }).getByText('Grace’s desk phone').waitFor();
  await look(page, '33-user');
}

async function devices() {
  await go('/devices');
  await heading('Devices');
  await page.getByText('80:5e:c0:12:34:56').waitFor();
  await look(page, '40-devices');
  await page.getByRole('link', { name: 'Grace’s desk phone' }).click();
  await page.getByRole('heading', { name: 'Grace’s desk phone', level: 1 }).waitFor();
  await button('Show sip credentials').click();
  await button('Copy password').waitFor();
  await button('Show config').click();
  await page.locator('pre.config').waitFor();
  await look(page, '41-device');
  await button('Delete device').click();
  const sure = page.getByRole('alertdialog', { name: 'Delete device' });
  await sure.getByText(/cannot be undone/).waitFor();
  await look(page, '42-delete-device');
  await button('Cancel', sure).click();
  await go('/devices?new=1');
  await page.getByRole('dialog', { name: 'Add Device' }).waitFor();
  await look(page, '43-add-device');
}

async function carriers() {
  await go('/trunks');
  await heading('Trunks');
  await page.getByText('You have none yet.').waitFor();
  await look(page, '44-no-trunk');
  await button('Add Trunk').first().click();
  const dialog = page.getByRole('dialog', { name: 'Add Trunk' });
  await dialog.getByLabel('Address of the carrier').fill('127.0.0.1');
  await dialog.getByLabel('Port', { exact: true }).fill('9');
  await dialog.getByLabel('Name', { exact: true }).fill('Old Carrier');
  await button('Add Trunk', dialog).click();
  await dialog.getByText('A trunk that registers needs a user name.').waitFor();
  await look(page, '45-add-trunk');
  await dialog.getByText('Known by address', { exact: true }).click();
  await button('Add Trunk', dialog).click();
  await page.getByRole('heading', { name: 'Old Carrier', level: 1 }).waitFor();
  // The carrier does not exist: the page says so, and so does the start page.
  await page.getByText('Down', { exact: true }).first().waitFor({ timeout: 45_000 });
  const test = page.getByRole('region', { name: 'Test' });
  await test.getByLabel(/A number as you would dial it/).fill('030 123456');
  await button('Test', test).click();
  await test.getByRole('list', { name: 'Where the carrier was found' }).waitFor();
  await test.getByText('As the carrier gets it').waitFor();
  await page.getByText('More settings').click();
  await look(page, '46-trunk');
  await page.getByLabel('Serves numbers beginning with').fill('49');
  await button('Save').click();
  await page.getByText(/Each prefix must be a plus sign/).waitFor();
  await button('Cancel').click();
  await go('/phone-numbers');
  await heading('Phone inventory');
  await button('Add Number').first().click();
  const add = page.getByRole('dialog', { name: 'Add Number' });
  await add.getByLabel('Phone Number').fill('12');
  await button('Add Number', add).click();
  await add.locator('.mantine-InputWrapper-error').first().waitFor();
  await add.getByLabel('Phone Number').fill('+49 30 1234500');
  await add.getByLabel('Label (optional)').fill('Front desk');
  await add.getByLabel('Person').click();
  await page.getByRole('option', { name: /Bob Cho/ }).click();
  await look(page, '47-add-number');
  await button('Add Number', add).click();
  await page.getByRole('table', { name: 'My Numbers' }).getByText('+49301234500').waitFor();
  await look(page, '48-numbers');
  await page.getByRole('link', { name: '+49301234500' }).click();
  await page.getByText('Calls lead to: Bob Cho (102)').waitFor();
  await look(page, '49-number');
  await go('/settings?tab=telephony');
  await page.getByLabel('Default Outbound Number').first().click();
  await page.getByRole('option', { name: /\+49301234500/ }).click();
  await toast('Saved');
  await look(page, '54-telephony');
  await go('/');
  await page.getByText(/Trunk Old Carrier is down/).waitFor();
  await look(page, '55-home-trunk-down');
  await go('/lamps');
  await heading('Lamps');
  await page.getByText(/No phone watches anybody yet|lamps show what they should/).first().waitFor();
  await look(page, '56-lamps');
}

/** How people are reached: a ring group, a shared mailbox, find me, codes, the parking board. */
async function reach() {
  await go('/ring-groups');
  await page.getByText('No ring groups yet.', { exact: false }).waitFor();
  await button('New Ring Group').first().click();
  const group = page.getByRole('dialog', { name: 'New Ring Group' });
  await group.getByLabel('Name').fill('Sales');
  await group.getByLabel('Extension').fill('701');
  await group.getByLabel('Person').click();
  await page.getByRole('option', { name: /Bob Cho/ }).click();
  await button('Add number', group).click();
  await group.getByLabel('Number', { exact: true }).fill('+49 170 1234567');
  await button('New Ring Group', group).click();
  await group.getByText(/parking slots/).first().waitFor();
  await group.getByLabel('Extension').fill('300');
  await look(page, '80-new-ring-group');
  await button('New Ring Group', group).click();
  await page.getByRole('table', { name: 'Ring Groups' }).getByText('Sales').waitFor();
  await look(page, '81-ring-groups');

  await go('/mailboxes');
  await button('New Mailbox').first().click();
  const box = page.getByRole('dialog', { name: 'New Mailbox' });
  await box.getByLabel('Name').fill('Support');
  await box.getByLabel('Extension').fill('390');
  await look(page, '82-new-mailbox');
  await button('New Mailbox', box).click();
  await page.getByRole('table', { name: 'Shared Mailboxes' }).getByText('Support').waitFor();
  await look(page, '83-mailboxes');

  await go('/parking');
  await page.getByText('701', { exact: true }).first().waitFor();
  await look(page, '84-parking');

  await go('/users');
  await page.getByRole('link', { name: 'Bob Cho' }).first().click();
  await page.getByLabel('Look for me step by step').check({ force: true });
  await button('Add step').click();
  await page.getByLabel('Number', { exact: true }).fill('+49 170 7654321');
  await look(page, '85-find-me');
  await button('Save').click();
  await toast('Saved');
  await page.getByLabel('While busy').fill('101');
  await button('Save').click();
  await toast('Saved');
  await look(page, '86-reach');
}

async function security() {
  await go('/settings?tab=security');
  await page.getByText('Nobody is banned.').waitFor();
  await button('Ban an address').click();
  const dialog = page.getByRole('dialog', { name: 'Ban an address' });
  await dialog.getByLabel('IP Address').fill('127.0.0.1');
  await button('Ban an address', dialog).click();
  await dialog.locator('.mantine-InputWrapper-error').first().waitFor();
  await dialog.getByLabel('IP Address').fill('198.51.100.7');
  await dialog.getByLabel('Reason (optional)').fill('Calls <b>at night</b>');
  await button('Ban an address', dialog).click();
  const list = page.getByRole('list', { name: 'Banned addresses' });
  await list.getByText('198.51.100.7').waitFor();
  await button('Evidence against 198.51.100.7').click();
  await look(page, '57-security');
  await button('Lift the ban of 198.51.100.7').click();
  await button('Lift', page.getByRole('alertdialog', { name: 'Lift ban' })).click();
  await page.getByText('Nobody is banned.').waitFor();
}

async function settings() {
  await go('/settings?tab=devices');
  await button('Generate').click();
  await button('Rotate').waitFor();
  await button('Show provisioning url').click();
  await page.getByText(/\/p\/[^•]+/).waitFor();
  await look(page, '50-provisioning');
  await go('/settings?tab=activity');
  await page.getByRole('table', { name: 'Activity' }).getByText('provisioning.rotate').first().waitFor();
  await page.getByRole('textbox', { name: 'Filter by resource' }).fill('user/');
  await page.waitForURL(/resource=user/);
  await page.getByText('user.create').first().waitFor();
  await look(page, '51-activity');
  await button('Clear Filters').click();
  await page.waitForURL((u) => !u.search.includes('resource'));
  await go('/settings');
  await page.getByLabel('Name', { exact: true }).fill('Acme & Co');
  await look(page, '52-settings');
  await button('Save').click();
  await toast('Saved');
  await page.waitForFunction(() => ![...document.querySelectorAll('main button')].some((b) => b.textContent === 'Save'));
  await go('/call-flow?from=102&to=101');
  await page.getByText(/Extension 101 is Ada Lovelace/).first().waitFor();
  await look(page, '53-call-flow');
}

async function everywhere() {
  await go('/my-settings');
  await heading('My Settings');
  await page.getByText('Do not disturb').waitFor();
  await look(page, '60-my-settings');
  await page.keyboard.press('Control+k');
  const palette = page.getByRole('combobox', { name: 'Search' });
  await palette.fill('bob');
  await page.getByRole('option', { name: /Bob Cho/ }).first().waitFor();
  await look(page, '61-palette');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Bob Cho', level: 1 }).waitFor();
  await page.keyboard.press('g');
  await page.keyboard.press('d');
  await heading('Devices');
  await page.keyboard.press('Shift+?');
  await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
  await look(page, '62-keys');
  await page.keyboard.press('Escape');
  await go('/nowhere');
  await heading('Page not found');
  // The theme is chosen by hand and there before the first paint.
  await page.getByRole('banner').getByRole('button', { name: 'Settings', exact: true }).click();
  await look(page, '63-gear', { only: 1280 });
  await page.getByRole('menuitem', { name: 'Theme' }).hover();
  await page.getByRole('menuitemradio', { name: 'Dark' }).click();
  await page.waitForFunction(() => document.documentElement.getAttribute('data-mantine-color-scheme') === 'dark');
  await page.reload({ waitUntil: 'commit' });
  await page.waitForFunction(() => document.documentElement.getAttribute('data-mantine-color-scheme') === 'dark');
  await page.evaluate(() => localStorage.removeItem('branchline-theme'));
}

async function member() {
  await go('/devices?q=desk');
  await heading('Devices');
  await page.getByRole('banner').getByRole('button', { name: 'Settings', exact: true }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();
  await heading('Sign in to Branchline');
  await look(page, '70-login');
  await page.getByLabel('Email or username').fill('grace@acme.test');
  await page.getByLabel('Password', { exact: true }).fill('not the password');
  await button('Sign in').click();
  await page.getByText('Email or password is incorrect.').waitFor();
  // A link that was sent by a colleague is kept over the sign-in.
  await go('/devices?q=desk');
  await page.waitForURL(/\/login\?next=/);
  await page.getByLabel('Email or username').fill('grace@acme.test');
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/devices\?q=desk/);
  await heading('You don’t have access to this page');
  assert.equal(await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Users' }).count(), 0);
  await look(page, '71-forbidden');
  await go('/');
  await heading('Hello, Grace');
  await page.getByText('Grace’s desk phone').waitFor();
  await look(page, '72-member-home');
}
