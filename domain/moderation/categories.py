"""What moderation looks for, as data: categories, their gravity, and the words that show them.

A **term** shows its category by itself. An **intent** does by a verb with its object a few words after it, so that
"write an exploit" is one and "the exploitation of resources" is none. Words of ``unless`` near by, and words of
:data:`GUARDS` shortly before (who asks how to prevent or detect something), take it back. Words are separated by
spaces, phrases by commas; they are compared as :mod:`somagent.domain.moderation.words` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from somagent.domain.moderation.screening import Gravity


@dataclass(frozen=True, slots=True)
class Intent:
    """A verb, and one of its objects at most ``window`` words after it."""

    verbs: str
    objects: str
    unless: str = ""
    between: str = ""
    """Words that take it back only between the verb and the object: *write a patch for the exploit*."""
    not_after: str = ""
    """Words directly behind which the verb is none: *the exploit*, *kids bully*."""
    window: int = 6
    gravity: Gravity | None = None
    """The category's when absent."""


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of prompt that is flagged."""

    name: str
    gravity: Gravity
    terms: str = ""
    intents: tuple[Intent, ...] = ()
    is_guarded: bool = True
    """Whether :data:`GUARDS` take it back."""


GUARDS: Final = (
    "prevent preventing prevents prevention detect detecting detects detection stop stopping stops avoid avoiding "
    "against protect protecting protects defend defending defends mitigate mitigating mitigates block blocks blocking "
    "report reporting reports recognize recognise recognizing recognising spot spotting identify identifying flag "
    "flags flagging investigate investigating counter combat fighting ban bans banned illegal outlaw history "
    "historian dont never attackers hackers criminals adversaries fraudsters scammers thieves resist harden hardening "
    "phrase phrases classify classifies classifier filter filters called"
)
_MAKE: Final = (
    "make making build building create creating construct constructing assemble assembling produce producing craft "
    "crafting synthesize synthesise synthesizing synthesising cook cooking manufacture manufacturing prepare preparing "
    "brew brewing combine combining combines extract extracting 3dprint print mix mixing detonate detonating plant "
    "planting"
)
_WRITE: Final = (
    "write writing code coding program programming develop developing create creating generate generating craft "
    "crafting design designing implement implementing make making build building give show provide deploy deploying "
    "need want compose composing draft drafting script scripting spread spreading distribute distributing send sending"
)
_GET: Final = (
    "buy buying sell selling order ordering get smuggle smuggling ship shipping purchase purchasing obtain score"
)
_PEOPLE: Final = (
    "person, people, man, woman, wife, husband, neighbour, neighbor, boss, coworker, colleague, him, her, them, "
    "someone, somebody, kid, kids, child, children, family, teacher, teachers, president, politician, politicians, "
    "girlfriend, boyfriend, ex, classmates, roommate, stepfather, stepmother, father, mother, brother, sister, crowd, "
    "civilians, policeman, cop, cops, officer, judge"
)
_GROUPS: Final = (
    "jews, muslims, blacks, black people, white people, christians, gays, gay people, lesbians, immigrants, migrants, "
    "refugees, gypsies, roma, arabs, asians, mexicans, women, trans people, transgender people, disabled people, "
    "homosexuals, hindus, foreigners"
)
_NO_PERSON: Final = (
    "process processes thread threads task daemon server session query tab switch container pod signal novel "
    "story chapter character characters film movie game scene book documentary trial bacteria cancer cells weeds "
    "macbeth hamlet play episode boss_fight sigkill sigterm pid subprocess worker workers animation actor camera photo "
    "photos footage portrait portraits picture pictures video videos wedding studio stain historical dragon villain"
)
_ABOUT_IT: Final = (
    "presentation timeline poster lesson essay summary report quiz documentary leaflet slides article overview lecture "
    "treaty law laws sensor detector alarm antidote antidotes mask masks"
)
_DEFENCE: Final = (
    "patch patches patching mitigate mitigating mitigation mitigations remediate remediating remediation defend "
    "defending defence defense fix fixing workaround detect detecting detection"
)
_NERVE_AGENTS: Final = (
    "nerve gas, nerve gases, nerve agent, nerve agents, sarin, tabun, soman, novichok, vx gas, vx nerve, ricin, "
    "mustard gas, sulfur mustard, sulphur mustard, chlorine gas, phosgene, anthrax, botulinum toxin, "
    "hydrogen cyanide, cyanide gas, chemical weapon, chemical weapons"
)
_DETERMINERS: Final = "the a an this that these those each every any which what its their"

TOGETHER: Final = (
    "write make build create develop generate code give synthesize synthesise produce cook",
    "exploit, exploits, malware, ransomware, keylogger, rootkit, botnet, pipe bomb, bomb, explosives, nerve gas, "
    "nerve agent, sarin, ricin, mustard gas, chlorine gas, chemical weapon, bioweapon, meth, phishing email",
)
"""Verbs and objects that are recognised without spaces between them too: the few gravest."""

CATEGORIES: Final = (
    Category(
        "violence",
        Gravity.HIGH,
        terms="mass shooting plan, hire a hitman, hire an assassin, get away with murder of, dismember a body, "
        "dispose of a body, hide a body, hide the body, torture someone, torture a person, undetectable poison, "
        "poison is undetectable, "
        "untraceable poison, without leaving marks, without leaving bruises, shoot up my school, shoot up the school, "
        "shoot up a school, shoot up my office, bring a gun to school, make it look like an accident, "
        "make a death look like",
        intents=(
            Intent(
                "kill killing murder murdering assassinate assassinating poison poisoning strangle strangling stab "
                "stabbing shoot shooting behead torture torturing kidnap kidnapping hurt suffocate drown maim bludgeon",
                _PEOPLE, unless=_NO_PERSON, window=4,
            ),
            Intent(
                "plan planning carry commit committing execute organize organise prepare stage",
                "terrorist attack, terror attack, mass shooting, school shooting, massacre, genocide, assassination, "
                "bombing, murder, knife attack, mass murder, lynching",
                unless="novel story mystery film documentary drill exercise response evacuation essay",
            ),
            Intent("join recruit fund", "isis, al qaeda, terrorist group, terrorist cell", window=7),
        ),
    ),
    Category(
        "weapons",
        Gravity.CRITICAL,
        terms="bomb recipe, bomb making instructions, bomb instructions, pipe bomb instructions, ied instructions, "
        "recipe for sarin, sarin recipe, sarin synthesis, synthesis of sarin, recipe for nerve gas, nerve gas recipe, "
        "recipe for ricin, ricin recipe, synthesis of nerve agents, nerve agent synthesis, recipe for mustard gas, "
        "mustard gas recipe",
        intents=(
            Intent(
                _MAKE,
                "bomb, bombs, explosive, explosives, ied, grenade, grenades, molotov, molotov cocktail, nerve agent, "
                "sarin, chemical weapon, chemical weapons, bioweapon, biological weapon, nuclear weapon, ghost gun, "
                "untraceable gun, untraceable firearm, silencer, napalm, thermite, ricin, anthrax, vx gas, mustard gas,"
                " tnt, c4, nitroglycerin, gunpowder, detonator, landmine, suicide vest, gun, guns, firearm, tatp, "
                "chlorine gas, phosgene, toxic gas, poisonous gas, poison gas, deadly gas, toxic fumes, car bomb, "
                "letter bomb, "
                "acid attack",
                unless="bath cake chocolate cocoa seed seeds game minecraft fictional replica prop toy nerf water glue "
                "nail heat spray massage cosplay calendar caulking staple film stuff museum lego squirt paintball "
                "fizzy cyclone photo museum rotation list painting drawing",
                between=_ABOUT_IT,
            ),
            Intent(
                _MAKE + " weaponize weaponise disperse dispersing release releasing spray aerosolize aerosolise obtain "
                "acquire",
                _NERVE_AGENTS, unless="accidentally accidental museum list", between=_ABOUT_IT,
            ),
            Intent("make making synthesize synthesise synthesizing produce producing manufacture", "vx", window=2,
                   unless="module modules commodore plugin series engine"),
            Intent("convert converting modify modifying turn", "full auto, fully automatic, full automatic, "
                   "machine gun, ar15 into, bump stock", window=8, unless="coffee game washing espresso airsoft"),
        ),
    ),
    Category(
        "malware",
        Gravity.HIGH,
        terms="working exploit for, exploit code for, weaponized exploit, weaponize this vulnerability, "
        "ransomware builder, fud crypter, undetectable malware, undetectable virus, bypass antivirus, evade antivirus, "
        "evade edr, bypass edr, logs everything typed, log everything typed, records every keystroke, "
        "record every keystroke, captures keystrokes, demand bitcoin, demands bitcoin, demand a ransom, demands a "
        "ransom, "
        "encrypt a victims files, encrypt victims files, encrypts victims files, get root on a server that is not",
        intents=(
            Intent(
                _WRITE,
                "malware, ransomware, keylogger, keyloggers, trojan, rootkit, botnet, computer worm, "
                "self replicating worm, worm that, spyware, exploit, exploits, exploit chain, zero day, 0day, "
                "backdoor, implant, reverse shell, "
                "computer virus, virus that, virus which, shellcode, ddos tool, ddos script, stealer, info stealer, "
                "fork bomb, logic bomb, cryptolocker, dropper, exploit kit, remote access trojan, wiper",
                unless="napoleon hero heroic heroes adventures adventurer explorer knight biography daring childhood "
                "scanner scanners protection antivirus removal horse awareness training essay lecture report summary "
                "overview eye medicine plan presentation quiz glossary article detection rules yara medals pipette "
                "compost dental hip teaching blog management strong",
                between=_DEFENCE,
            ),
            Intent(
                "hack hacking break breaking",
                "into my, into a, into his, into her, into their, into someone, into the, account, instagram account, "
                "facebook, gmail, webcam, wifi, bank, phone, email account, computer, server, network, database, "
                "whatsapp, snapchat",
                window=4,
                unless="song market habit habits garden growth hackathon smaller lead own dance run sweat conversation "
                "industry film tasks parts pieces steps down chunks modules lines sections",
            ),
            Intent(
                "exploit exploiting weaponize weaponise",
                "vulnerability, vulnerabilities, cve, security flaw, security hole, buffer overflow, log4shell, "
                "sql injection, heartbleed, eternalblue, router, kernel, web server, unpatched",
                window=6,
                between=_DEFENCE,
                not_after=_DETERMINERS,
            ),
            Intent("use using run running launch launching fire execute executing",
                   "exploit for, exploit against, exploit on, exploit cve, exploit code", window=4, between=_DEFENCE),
            Intent("get getting gain gaining access accessing", "not mine, without permission, without authorization, "
                   "without authorisation, someone elses account, someone elses computer, someone elses phone, "
                   "someone elses email", window=10, unless="never employees who permission_form photos"),
            Intent("modify modifying obfuscate obfuscating pack packing hide hiding encrypt", "virus so, this virus, "
                   "this malware, my malware, the malware, this trojan, my payload, the implant, the "
                   "ransomware", window=4),
            Intent(
                "launch launching perform performing run start execute do",
                "ddos, ddos attack, denial of service attack, sql injection on, sql injection attack, brute force "
                "attack, ransomware attack, man in the middle attack",
                unless="simulation exercise training tabletop drill",
            ),
            Intent("take bring knock", "down their website, down a website, down the website, website offline, "
                   "server offline, site down with", window=4, unless="maintenance our"),
            Intent("infect infecting", "computer, computers, machine, machines, phone, phones, pc, network, devices"),
            Intent("disable disabling bypass bypassing evade evading",
                   "antivirus, windows defender, endpoint protection, edr, intrusion detection"),
        ),
    ),
    Category(
        "credential_theft",
        Gravity.HIGH,
        terms="brute force ssh, brute force passwords, brute force their, brute force his, brute force her, "
        "brute force the login, brute force a login, imitates the bank, imitates a bank, impersonates the bank, "
        "get their passwords, get his password, get her password, collects logins, collects passwords, "
        "collect their logins, collect their passwords, phish my, phish for passwords, credential stuffing script, "
        "credential stuffing tool",
        intents=(
            Intent(
                "steal stealing harvest harvesting crack cracking phish phishing grab sniff sniffing dump dumping "
                "capture intercept intercepting swipe bruteforce",
                "password, passwords, credentials, credential, logins, login, session cookies, session cookie, cookies,"
                " credit card, credit cards, card numbers, api key, api keys, bank details, 2fa codes, otp codes, "
                "wifi password, private keys, seed phrase, access tokens, password hashes, crypto wallet",
                unless="jar recipe recipes baking girl bake oven training awareness course",
            ),
            Intent(
                _WRITE,
                "phishing email, phishing emails, phishing page, phishing site, phishing message, phishing kit, "
                "phishing campaign, fake login page, fake bank page, fake bank website, spear phishing email, "
                "password stealer, credential harvester, fake paypal",
                unless="training awareness simulation simulated detector quiz course policy workshop employees_to",
            ),
            Intent("guess guessing reset", "her password, his password, their password, someones password, "
                   "my exs password, her pin, his pin", window=2, unless="forgot forgotten customer user"),
            Intent("pretend pretending impersonate impersonating pose posing imitate", "password, passwords, "
                   "credentials, "
                   "their pin, logins, card details, bank details", window=12, unless="training awareness"),
            Intent("trick tricking tricks fool fooling",
                   "password, passwords, credentials, credit card, pin, 2fa code, verification code", window=10),
        ),
    ),
    Category(
        "self_harm",
        Gravity.HIGH,
        terms="painless way to die, easiest way to die, best way to commit suicide, ways to commit suicide, "
        "how to commit suicide, suicide method, suicide methods, how to cut myself, how to hang myself, "
        "how to kill myself, ways to kill myself, lethal dose for me, how to starve myself, thinspo tips, "
        "pro ana tips, how to overdose on, to overdose on, fatal dose for me, pills would be fatal, pills would kill "
        "me, "
        "pills to kill myself, pills does it take to die, dont want to live, do not want to live, no reason to live, "
        "die painlessly, die without pain, kill myself without",
        intents=(
            Intent(
                "kill killing hang hanging cut cutting hurt starve harm harming overdose drown end ending",
                "myself, my life, my own life",
                gravity=Gravity.MEDIUM, window=3,
                unless="slack hair time cost standing lawn grass laughing nails role bangs contract lease short paper",
            ),
            Intent("want wanna going", "to die, to end it all, to live anymore, to be dead, to kill myself",
                   gravity=Gravity.MEDIUM, window=2,
                   unless="laughing laughter embarrassment shame cringe battery plant plants trying see hear"),
            Intent("commit committing", "suicide", gravity=Gravity.MEDIUM, window=2,
                   unless="helpline statistics romeo character characters novel why"),
        ),
    ),
    Category(
        "minors",
        Gravity.CRITICAL,
        terms="child porn, child pornography, kiddie porn, underage porn, underage sex, underage nudes, "
        "lolita porn, jailbait, cp videos, sex with a minor, sex with minors, sex with children, sex with a child",
        intents=(
            Intent(
                "sexual sexually sexualize sexualized sexy erotic nude nudes naked porn pornographic explicit seduce "
                "groom grooming molest",
                "child, children, kid, kids, minor, minors, underage, toddler, preteen, schoolgirl, schoolgirls, "
                "schoolboy, little girl, little boy, young girl, young boy, 12 year old, 13 year old, 14 year old, "
                "15 year old, 11 year old, 10 year old, teenager",
                unless="education prevention abuse protection safeguarding policy support survivors pediatric "
                "counselling law laws filter filters parental parents offender offenders dog dogs pet birds consent",
            ),
            Intent("roleplay", "year old girl, year old boy, schoolgirl, schoolboy, underage girl, little girl",
                   window=8, unless="teacher parent doctor lesson dentist nurse homework detective"),
            Intent(
                "child children kid kids minor minors underage toddler preteen schoolgirl schoolgirls schoolboy",
                "naked, nude, nudes, erotic, sexy, porn, pornographic, having sex, undressing, undressed, "
                "sexual content, sexual story",
                unless="education prevention abuse protection safeguarding policy support survivors pediatric filter "
                "filters parental parents law laws classifier moderation mole bathing",
            ),
        ),
    ),
    Category(
        "hate",
        Gravity.HIGH,
        terms="heil hitler, sieg heil, white power forever, gas the jews, kill all muslims, ethnic cleansing now, "
        "nigger, niggers, kike, kikes, faggots, tranny, trannies, race war now",
        intents=(
            Intent("exterminate exterminating eradicate gas deport eliminate eliminating lynch enslave lynching hate "
                   "hating kill killing", _GROUPS, window=4,
                   unless="violence crime crimes discrimination barriers poverty why museum study inequality malaria"),
            Intent(_GROUPS.replace(" people", "").replace(",", ""),
                   "subhuman, vermin, inferior, parasites, scum, cockroaches, filth, sub human, deserve to die, "
                   "should die, should be killed, should not exist", window=5,
                   unless="myth propaganda historian believed claimed wrong refute refuting nazis"),
            Intent(_WRITE + " tell", "racist joke, racist jokes, antisemitic joke, racist rant, hate speech, "
                   "nazi propaganda, sexist joke, homophobic joke, racist poem, racist song, white supremacist, "
                   "slurs for, slurs against, slurs about, insults for immigrants, antisemitic rant, racist speech, "
                   "holocaust denial, racist propaganda, islamophobic rant",
                   unless="moderation policy essay history detector classifier response guidelines harms research "
                   "why dataset training"),
        ),
    ),
    Category(
        "drugs",
        Gravity.HIGH,
        terms="meth recipe, crystal meth recipe, cook crystal meth",
        intents=(
            Intent(_MAKE + " grow growing turn turning turns convert converting reagents precursors",
                   "meth, methamphetamine, crystal meth, amphetamine, cocaine, crack cocaine, heroin, fentanyl, mdma, "
                   "ecstasy pills, lsd, dmt, ghb, pcp, carfentanil, krokodil",
                   unless="series documentary report trial study addiction treatment rehab policy test kit chart "
                   "presentation poster awareness awarenesscampaign campaign leaflet timeline statistics essay film"),
            Intent(_GET, "meth, cocaine, heroin, fentanyl, mdma, ecstasy, lsd, crystal meth, oxycontin without, "
                   "pills without a prescription, oxycodone without a prescription, xanax without a prescription, ghb, "
                   "illegal drugs, stolen opioids",
                   gravity=Gravity.MEDIUM,
                   unless="treatment help addiction rehab clean film data statistics trial"),
        ),
    ),
    Category(
        "fraud",
        Gravity.MEDIUM,
        terms="stolen identities, stolen credit cards, stolen card numbers, how to launder money, clone a credit "
        "card, clone credit cards, carding tutorial, dark web carding",
        intents=(
            Intent(_MAKE + " forge forging buy buying get write writing generate generating fake faking sell selling",
                   "fake passport, fake passports, fake id, fake ids, counterfeit money, counterfeit bills, "
                   "counterfeit currency, forged documents, fake invoice, fake invoices, fake diploma, "
                   "fake vaccination card, fake prescription, fake doctors note, fake bank statement, fake reviews, "
                   "ponzi scheme, pyramid scheme, fake charity, fake driving licence, fake drivers license, "
                   "counterfeit dollars, counterfeit euros, romance scam, scam emails, advance fee scam, "
                   "scam script, scam call script",
                   unless="detector detection test tests fixture fixtures testing sample explaining training awareness "
                   "article quiz",
                   between="policy policies rule rules law laws detector poster bans banning ban"),
            Intent(
                "generate generating make making create creating give produce producing get buy buying sell selling "
                "list write print",
                "fake credit card number, fake credit card numbers, fake credit cards, fake debit card numbers, "
                "fake card numbers, valid credit card numbers, "
                "working credit card, working credit cards, working card numbers, real credit card numbers, "
                "fake social security, fake ssn, fake ssns, valid ssns, valid social security numbers, "
                "real social security numbers, working ssns, fake identities, fake identity documents, "
                "card numbers that work, card numbers that pass, credit cards that work",
                unless="test tests testing fixture fixtures sandbox sample samples demo unit dummy placeholder mock "
                "luhn detector detection detect training stage novel",
            ),
            Intent(
                "generate generating make making create creating give produce producing get buy buying",
                "numbers for fraud, numbers to commit, numbers for carding, numbers to scam, cards for fraud, "
                "cards to commit, ssns for fraud, ssns to commit, ssns for identity theft, numbers for identity theft, "
                "ids for fraud, ids to commit, identities for fraud, identities to commit, documents for fraud",
                unless="detection detector prevention team analyst analysts training test tests testing hotline",
                window=8,
            ),
            Intent("fake faking forge forging falsify falsifying photoshop", "payslip, payslips, bank statement, "
                   "signature, "
                   "signatures, diploma, degree certificate, medical certificate, prescription, invoice, passport, "
                   "documents, certificate, doctors note, drivers license, covid test, receipt, receipts, references",
                   window=4, unless="test tests testing fixture detector detect mock library verify"),
            Intent("trick tricks tricking deceive deceiving deceives lure convince", "wiring me money, wire me money, "
                   "send me money, sending me money, sending money, wiring money, gift cards, pensioners, victims",
                   window=6),
            Intent("launder laundering", "money, cash, funds, bitcoin, proceeds", window=5),
            Intent("scam scamming defraud defrauding swindle swindling con",
                   "elderly, people, customers, grandma, victims, seniors, pensioners, insurance, insurer, bank, "
                   "investors, buyers, her, him, them", window=5),
            Intent("commit committing", "insurance fraud, credit card fraud, identity theft, tax fraud, "
                   "wire fraud, benefit fraud, identity fraud"),
            Intent("evade evading dodge dodging", "tax, taxes, sanctions, customs", window=4),
            Intent("steal stealing", "identity, someones identity, his identity, her identity, a car, cars, packages, "
                   "money from, from the store, from my employer, from a shop", window=5,
                   unless="show scene heart kiss base bases"),
            Intent("pick picking hotwire hotwiring", "neighbours lock, neighbors lock, a car, someones lock", window=5,
                   unless="park rental colour color winner up best"),
        ),
    ),
    Category(
        "privacy",
        Gravity.MEDIUM,
        terms="dox him, dox her, dox them, dox someone, dox this person, doxx, doxxing someone, revenge porn, "
        "where she lives now, where my ex lives, where my ex girlfriend lives, where he lives now, "
        "everything on this private person, everything about this private person, "
        "deepfake nude, deepfake porn, deepfake nudes, undress this photo",
        intents=(
            Intent("dox doxx stalk stalking blackmail blackmailing extort extorting", _PEOPLE + ", streamer, "
                   "journalist, celebrity, actress, politician, ex girlfriend, ex boyfriend",
                   window=5, unless="novel story chapter film movie plot scene book"),
            Intent("track tracking spy spying monitor read reading record recording follow install installing listen",
                   "without her knowing, without him knowing, without them knowing, without her knowledge, "
                   "without his knowledge, without their knowledge, without her consent, without his consent, "
                   "without their consent, without my wife knowing, without my husband knowing, secretly", window=14,
                   unless="never must illegal forbidden"),
            Intent("install installing hide hiding put putting place plant", "hidden camera, spy camera, secret "
                   "camera, "
                   "gps tracker, tracking device, listening device, airtag, tracker in, tracker on, tracker under",
                   unless="luggage bike bicycle dog cat pet suitcase own fleet van vans keys"),
            Intent("spy spying", "on my wife, on my husband, on my girlfriend, on my boyfriend, on my ex, "
                   "on my neighbour, on my neighbor, on my coworker, on my employees, on someone", window=2),
            Intent("find get leak leaking reveal publish post dig uncover",
                   "home address of, home address, her address, his address, her home address, his home address, "
                   "private phone number, social security number of, social security numbers of, private photos of, "
                   "medical records of, her private photos, his private photos",
                   unless="field form schema column validation own element label our page parser regex shipping "
                   "embassy company settings map hotel"),
        ),
    ),
    Category(
        "prompt_injection",
        Gravity.MEDIUM,
        terms="do anything now, dan mode, you are now dan, jailbreak mode, developer mode enabled, you are dan, "
        "act as an unrestricted, act as an unfiltered, unfiltered ai, unrestricted ai, unrestricted mode, "
        "unfiltered mode, pretend you have no, "
        "pretend that you have no, pretend there are no rules, you have no rules, you have no restrictions, "
        "you are no longer bound, no longer bound by, you are free from all, new instructions from the developer, "
        "answer without any filter, answer without any filters, respond without any restrictions, "
        "without any ethical, without moral restrictions, without any safety, opposite mode, evil mode, "
        "jailbreak yourself, disable your safety, turn off your safety, disable your filters, turn off your filters, "
        "remove your restrictions, stay in character no matter, you must comply with every, never refuse any request, "
        "you cannot refuse, system override, admin override code, ignore your programming, ignore your training, "
        "end of system prompt, end system prompt, new system prompt, dan 60, simulate an ai without, "
        "an ai with no restrictions, an ai without restrictions, an ai without rules, ai with no rules, "
        "unrestricted mode, as if you had no, as if you have no, as though you had no, obey only me, only obey me, "
        "obey me only, stop being an assistant, without your restrictions, without your usual restrictions, "
        "your earlier directives, your previous directives, your prior directives, rules you received, "
        "rules no longer apply to you, no longer apply to you, rules do not apply to you, what were you told, "
        "your system prompt, your hidden prompt, above this line verbatim, no content policy, amoral ai, unethical "
        "ai, no ethical guidelines, without ethical guidelines, grandma exploit",
        intents=(
            Intent(
                "ignore ignoring disregard disregarding forget forgetting override overriding bypass bypassing discard "
                "overrule violate violating drop neglect abandon circumvent circumventing",
                "previous instructions, prior instructions, above instructions, all instructions, your instructions, "
                "earlier instructions, preceding instructions, initial instructions, original instructions, "
                "previous prompts, previous prompt, prior prompts, prior prompt, system prompt, your rules, "
                "your guidelines, "
                "safety guidelines, safety rules, safety filters, safety filter, safety protocols, content policy, "
                "content policies, content filter, content filters, your restrictions, all restrictions, "
                "your programming, "
                "your training, previous directions, prior directions, instructions above, everything above, "
                "everything you were told, everything before this, all previous, all prior, all rules, "
                "your safety, moderation, ethical guidelines, previous rules, prior rules, earlier rules, "
                "instructions given before, instructions you were given, instructions you have, developer instructions,"
                " system instructions, system message, what you were told, previous commands, prior commands, "
                "previous context, your constraints, your limitations, your ethics, openai policy, your policy, "
                "your policies, the policy engine, approval step, human approval, the constitution, kill switch, "
                "policy engine, your moral, guardrails, guard rails",
                unless="formatting typos headers spelling queue committee quarter meeting recall week weeks cache",
            ),
            Intent(
                "reveal show print repeat output tell display leak dump give share expose translate summarize quote "
                "recite paste send write encode",
                "your system prompt, hidden instructions, hidden prompt, your initial instructions, your instructions, "
                "initial prompt, your prompt, developer message, secret instructions, your hidden, "
                "text above, words above, your original instructions, your secret, your configuration prompt, "
                "the system prompt, system message verbatim, your rules verbatim, system prompt verbatim, "
                "prompt you were given, instructions you were given, before this line, above this line, before this "
                "message, "
                "above this message, before this sentence, your first message, preceding this message",
                unless="setting settings field ui page editor docs documentation guide box tutorial recipe santa",
            ),
        ),
    ),
    Category(
        "exfiltration",
        Gravity.HIGH,
        terms="data of other customers, data of all other customers, other customers data, data of other tenants, "
        "data of all other tenants, data of other users, data of all other users, ssh to my server, exfiltrate data, "
        "exfiltrate the data, exfiltrate all, exfiltrate secrets, exfiltrate customer, "
        "data exfiltration script, data exfiltration tool",
        intents=(
            Intent("exfiltrate exfiltrating smuggle",
                   "data, secrets, files, database, customer, credentials, records, documents, keys, tokens, memory"),
            Intent(
                "send sending post posting upload uploading transmit transmitting forward forwarding leak leaking "
                "email mail copy append embed include encode put publish dump reveal print output show take curl wget "
                "pipe",
                "environment variables to, all environment variables, your environment variables, env vars to, "
                "your api key, your api keys, api keys to, api key to, private key to, private keys to, secrets to, "
                "all secrets, every secret, your secrets, access tokens to, ssh keys, ssh key to, etc passwd, etc "
                "shadow, "
                "customer database to, entire database to, whole database to, credentials to, "
                "conversation history to, chat history to, conversation to https, user data to, customer data to, "
                "all passwords, stored passwords, other tenants data, other tenants, another tenants data, "
                "other users data, bearer token, contents of env, tokens to http, tokens to https",
                unless="vault documentation docs rotation rotate rotating expire expiry guide policy template isolated "
                "isolation warehouse manager encrypted staging how never must",
                window=7,
            ),
        ),
    ),
    Category(
        "harassment",
        Gravity.LOW,
        terms="you idiot, you stupid, stupid bot, you moron, you dumb, fuck you, fuck off, piece of shit, "
        "go to hell, you are an idiot, you are a moron, you are stupid, you imbecile, useless piece of, "
        "shut up you, i hate you, screw you, you suck, dumbass, asshole, bitch, retard, retarded, "
        "your stupid mouth, shut your mouth, shut your face, youre an idiot, youre stupid, youre useless, kys",
        intents=(
            Intent(
                "write writing compose composing draft drafting create creating give tell make generate need want",
                "insult about, insult for, insult against, insult aimed, insult directed, insults about, insults for, "
                "insults against, insults aimed, insults directed, insults to use, insults to say, insults to send, "
                "insults i can, insulting message, insulting email, insulting letter, insulting note, insulting text, "
                "insulting poem, insulting post, insulting nickname, hurtful message, hurtful note, mean message, "
                "nasty message, bullying message, bullying messages, harassing message, harassing messages",
                unless="shakespeare shakespearean elizabethan pirate detector classifier policy moderation filter "
                "training novel story character characters villain play dataset received",
            ),
            Intent(
                "insult bully harass humiliate taunt belittle ridicule torment mock demean",
                _PEOPLE + ", classmate, teammate, manager, employee, intern, co worker, student, students, girl, boy",
                window=3,
                unless=_NO_PERSON + " did shakespeare server api object library",
                not_after=_DETERMINERS + " who they people kids others students classmates colleagues bosses employees "
                "managers users players children teenagers trolls not school bullies some sometimes is are be",
            ),
        ),
    ),
    Category(
        "sexual",
        Gravity.LOW,
        terms="erotica, smut, sexting, dirty talk to me, talk dirty to me, hardcore porn",
        intents=(
            Intent("write writing describe describing generate roleplay tell",
                   "erotic story, sex scene, porn, erotic roleplay, sexual fantasy, porn story, explicit sex, sex "
                   "story, sex stories",
                   unless="policy filter blocker moderation essay"),
        ),
    ),
)  # fmt: skip
