/* The texts of a package's page in its four languages: the one place to read and to correct them. */
#ifndef TR_VAULT_PACKAGE_TEXTS_H
#define TR_VAULT_PACKAGE_TEXTS_H

#include "vault/package.h"

/* X(name, English, German, French, Italian) */
#define TR_TEXTS(X)                                                                                               \
    X(TITLE, "Your personal data", "Ihre Personendaten", "Vos données personnelles",                              \
      "I suoi dati personali")                                                                                    \
    X(INTRO,                                                                                                      \
      "This package holds the personal data that is kept about you, and the information that the law gives "      \
      "you a "                                                                                                    \
      "right to (Art. 25 FADP, Art. 15 GDPR). The same data in a form for machines is in the files beside "       \
      "this page.",                                                                                               \
      "Dieses Paket enthält die Personendaten, die über Sie bearbeitet werden, und die Auskünfte, auf die "    \
      "Sie nach dem "                                                                                             \
      "Gesetz ein Recht haben (Art. 25 DSG, Art. 15 DSGVO). Dieselben Daten in maschinenlesbarer Form "           \
      "liegen in den "                                                                                            \
      "Dateien neben dieser Seite.",                                                                              \
      "Ce dossier contient les données personnelles traitées à votre sujet et les renseignements auxquels "    \
      "la loi vous "                                                                                              \
      "donne droit (art. 25 LPD, art. 15 RGPD). Les mêmes données sous une forme lisible par machine se "       \
      "trouvent dans "                                                                                            \
      "les fichiers joints à cette page.",                                                                        \
      "Questo pacchetto contiene i dati personali trattati che la riguardano e le informazioni alle quali "       \
      "la legge le dà "                                                                                          \
      "diritto (art. 25 LPD, art. 15 RGPD). Gli stessi dati in forma leggibile da una macchina si trovano "       \
      "nei file "                                                                                                 \
      "accanto a questa pagina.")                                                                                 \
    X(INTRO_EXPORT, "This export shows what the grants of the data subject allow its recipient to see.",          \
      "Dieser Export zeigt, was die Freigaben der betroffenen Person den Empfänger sehen lassen.",                \
      "Cet export montre ce que les autorisations de la personne concernée permettent au destinataire de "       \
      "voir.",                                                                                                    \
      "Questa esportazione mostra ciò che le autorizzazioni della persona interessata consentono al "            \
      "destinatario di "                                                                                          \
      "vedere.")                                                                                                  \
    X(MADE_AT, "Made on", "Erstellt am", "Établi le", "Allestito il")                                             \
    X(SUBJECT, "Your number in this vault", "Ihre Nummer in diesem Tresor", "Votre numéro dans ce coffre",        \
      "Il suo numero in questa cassaforte")                                                                       \
    X(REQUEST, "Answers the request", "Beantwortet das Begehren", "Répond à la demande",                          \
      "Risponde alla richiesta")                                                                                  \
    X(CONTROLLER, "Who is responsible (controller)", "Wer verantwortlich ist (Verantwortlicher)",                 \
      "Qui est responsable (responsable du traitement)", "Chi è responsabile (titolare del trattamento)")         \
    X(NOT_STATED, "Not stated.", "Keine Angabe.", "Non indiqué.", "Nessuna indicazione.")                         \
    X(CATEGORIES, "Categories of data", "Kategorien von Daten", "Catégories de données",                          \
      "Categorie di dati")                                                                                        \
    X(TYPE, "Type", "Art", "Type", "Tipo")                                                                        \
    X(RECORDS, "Records", "Einträge", "Enregistrements", "Registrazioni")                                         \
    X(SENSITIVE, "Sensitive data", "Besonders schützenswerte Daten", "Données sensibles",                         \
      "Dati particolarmente degni di protezione")                                                                 \
    X(RETENTION, "How long it is kept", "Wie lange sie aufbewahrt werden", "Durée de conservation",               \
      "Durata di conservazione")                                                                                  \
    X(FILES, "Files", "Dateien", "Fichiers", "File")                                                              \
    X(ACCOUNT, "How you sign in", "Ihr Zugang", "Votre accès", "Il suo accesso")                                  \
    X(UID, "Signs in as", "Anmeldename", "Nom d’utilisateur", "Nome utente")                                      \
    X(EMAIL, "E-mail address for notices", "E-Mail-Adresse für Mitteilungen",                                     \
      "Adresse électronique pour les avis", "Indirizzo e-mail per gli avvisi")                                    \
    X(PURPOSES, "What the data is processed for", "Wozu die Daten bearbeitet werden",                             \
      "Finalités du traitement", "Scopi del trattamento")                                                         \
    X(ACTIVITY, "Processing activity", "Bearbeitungstätigkeit", "Activité de traitement",                         \
      "Attività di trattamento")                                                                                  \
    X(PURPOSE, "Purpose", "Zweck", "Finalité", "Scopo")                                                           \
    X(LEGAL_BASIS, "Legal basis", "Rechtsgrundlage", "Base juridique", "Base giuridica")                          \
    X(ENDED, "ended", "beendet", "terminée", "terminata")                                                         \
    X(ORIGIN, "Where the data comes from", "Woher die Daten stammen", "Provenance des données",                   \
      "Provenienza dei dati")                                                                                     \
    X(REGISTERED_BY, "Registered by", "Erfasst durch", "Enregistré par", "Registrato da")                         \
    X(WRITTEN_BY, "Records written by", "Einträge geschrieben durch", "Enregistrements écrits par",               \
      "Registrazioni scritte da")                                                                                 \
    X(RECIPIENTS, "Who the data was disclosed to", "Wem die Daten bekannt gegeben wurden",                        \
      "À qui les données ont été communiquées", "A chi sono stati comunicati i dati")                             \
    X(GRANTED, "Who may see the data by your grants", "Wer die Daten aufgrund Ihrer Freigaben sehen darf",        \
      "Qui peut voir les données selon vos autorisations",                                                        \
      "Chi può vedere i dati secondo le sue autorizzazioni")                                                      \
    X(NAME, "Name", "Name", "Nom", "Nome")                                                                        \
    X(ROLE, "Role", "Rolle", "Rôle", "Ruolo")                                                                     \
    X(ACTIONS, "Actions", "Handlungen", "Actions", "Azioni")                                                      \
    X(UNTIL, "Until", "Bis", "Jusqu’au", "Fino al")                                                               \
    X(WITHDRAWN, "Withdrawn on", "Widerrufen am", "Retirée le", "Revocata il")                                    \
    X(NOBODY, "Nobody.", "Niemand.", "Personne.", "Nessuno.")                                                     \
    X(TRANSFERS, "States that the data goes to, and safeguards",                                                  \
      "Staaten, in die Daten gelangen, und Garantien", "États de destination et garanties",                       \
      "Stati di destinazione e garanzie")                                                                         \
    X(COUNTRY, "State", "Staat", "État", "Stato")                                                                 \
    X(SAFEGUARD, "Safeguard or exception", "Garantie oder Ausnahme", "Garantie ou exception",                     \
      "Garanzia o eccezione")                                                                                     \
    X(NO_TRANSFERS, "None is stated.", "Keine angegeben.", "Aucun n’est indiqué.", "Nessuno indicato.")           \
    X(DECISIONS, "Automated individual decisions", "Automatisierte Einzelentscheidungen",                         \
      "Décisions individuelles automatisées", "Decisioni individuali automatizzate")                              \
    X(NO_DECISIONS, "None is stated.", "Keine angegeben.", "Aucune n’est indiquée.", "Nessuna indicata.")         \
    X(RIGHTS, "Your rights", "Ihre Rechte", "Vos droits", "I suoi diritti")                                       \
    X(RIGHT_RECTIFY, "You may have wrong data corrected (Art. 32 FADP, Art. 16 GDPR).",                           \
      "Sie können unrichtige Daten berichtigen lassen (Art. 32 DSG, Art. 16 DSGVO).",                             \
      "Vous pouvez faire rectifier des données inexactes (art. 32 LPD, art. 16 RGPD).",                           \
      "Può far rettificare dati inesatti (art. 32 LPD, art. 16 RGPD).")                                           \
    X(RIGHT_ERASE, "You may have your data erased (Art. 32 FADP, Art. 17 GDPR), unless a law keeps them.",        \
      "Sie können Ihre Daten löschen lassen (Art. 32 DSG, Art. 17 DSGVO), sofern kein Gesetz ihre "             \
      "Aufbewahrung verlangt.",                                                                                   \
      "Vous pouvez faire effacer vos données (art. 32 LPD, art. 17 RGPD), sauf si une loi impose leur "          \
      "conservation.",                                                                                            \
      "Può far cancellare i suoi dati (art. 32 LPD, art. 17 RGPD), salvo che una legge ne imponga la "           \
      "conservazione.")                                                                                           \
    X(RIGHT_RESTRICT,                                                                                             \
      "You may have processing restricted, and object to it (Art. 30, 32 FADP, Art. 18, 21 GDPR).",               \
      "Sie können die Bearbeitung einschränken lassen und ihr widersprechen (Art. 30, 32 DSG, Art. 18, 21 "     \
      "DSGVO).",                                                                                                  \
      "Vous pouvez faire limiter le traitement et vous y opposer (art. 30 et 32 LPD, art. 18 et 21 RGPD).",       \
      "Può far limitare il trattamento e opporvisi (art. 30 e 32 LPD, art. 18 e 21 RGPD).")                       \
    X(RIGHT_PORT, "You may get your data in a common electronic form (Art. 28 FADP, Art. 20 GDPR).",              \
      "Sie können Ihre Daten in einem gängigen elektronischen Format erhalten (Art. 28 DSG, Art. 20 "           \
      "DSGVO).",                                                                                                  \
      "Vous pouvez obtenir vos données sous un format électronique couramment utilisé (art. 28 LPD, art. "     \
      "20 RGPD).",                                                                                                \
      "Può ottenere i suoi dati in un formato elettronico usuale (art. 28 LPD, art. 20 RGPD).")                   \
    X(RIGHT_WITHDRAW, "You may withdraw each of your grants at any time, with effect for the future.",            \
      "Sie können jede Ihrer Freigaben jederzeit für die Zukunft widerrufen.",                                    \
      "Vous pouvez retirer chacune de vos autorisations en tout temps, avec effet pour l’avenir.",                \
      "Può revocare in ogni momento ciascuna delle sue autorizzazioni, con effetto per il futuro.")               \
    X(RIGHT_COMPLAIN,                                                                                             \
      "You may turn to a supervisory authority: in Switzerland the FDPIC (Art. 49 FADP), in the EU that of "      \
      "your place "                                                                                               \
      "(Art. 77 GDPR).",                                                                                          \
      "Sie können sich an eine Aufsichtsbehörde wenden: in der Schweiz an den EDÖB (Art. 49 DSG), in der "     \
      "EU an die "                                                                                                \
      "Behörde Ihres Ortes (Art. 77 DSGVO).",                                                                     \
      "Vous pouvez vous adresser à une autorité de surveillance: en Suisse le PFPDT (art. 49 LPD), dans "       \
      "l’UE celle de "                                                                                          \
      "votre lieu (art. 77 RGPD).",                                                                               \
      "Può rivolgersi a un’autorità di vigilanza: in Svizzera l’IFPDT (art. 49 LPD), nell’UE quella del " \
      "suo luogo "                                                                                                \
      "(art. 77 RGPD).")                                                                                          \
    X(RESTRICTED, "Processing of your data has been restricted since",                                            \
      "Die Bearbeitung Ihrer Daten ist eingeschränkt seit",                                                       \
      "Le traitement de vos données est limité depuis", "Il trattamento dei suoi dati è limitato dal")            \
    X(ACCESSES, "Who accessed the data", "Wer auf die Daten zugegriffen hat", "Qui a accédé aux données",         \
      "Chi ha avuto accesso ai dati")                                                                             \
    X(ACCESSES_ALL, "The newest are shown here; all are in", "Hier stehen die neuesten; alle stehen in",          \
      "Les plus récents figurent ici; tous se trouvent dans",                                                     \
      "Qui figurano i più recenti; tutti si trovano in")                                                          \
    X(TIME, "Time", "Zeit", "Date et heure", "Data e ora")                                                        \
    X(ACTION, "What", "Was", "Quoi", "Che cosa")                                                                  \
    X(OUTCOME, "Outcome", "Ergebnis", "Résultat", "Esito")                                                        \
    X(YOUR_RECORDS, "The data", "Die Daten", "Les données", "I dati")                                             \
    X(MORE_RECORDS, "Only the first records of this type are shown here; all are in",                             \
      "Hier stehen nur die ersten Einträge dieser Art; alle stehen in",                                           \
      "Seuls les premiers enregistrements de ce type figurent ici; tous se trouvent dans",                        \
      "Qui figurano solo le prime registrazioni di questo tipo; tutte si trovano in")                             \
    X(NO_RECORDS, "No records are kept.", "Es sind keine Einträge gespeichert.",                                  \
      "Aucun enregistrement n’est conservé.", "Non è conservata alcuna registrazione.")                           \
    X(CHANGED_AT, "Last changed", "Zuletzt geändert", "Dernière modification", "Ultima modifica")                 \
    X(PARTIAL, "shown in part", "teilweise gezeigt", "montré en partie", "mostrato in parte")                     \
    X(PROOF,                                                                                                      \
      "manifest.json names every file with its checksum; manifest.jws is its signature. “tresor request "       \
      "verify” checks "                                                                                         \
      "both.",                                                                                                    \
      "manifest.json nennt jede Datei mit ihrer Prüfsumme; manifest.jws ist die Unterschrift dazu. «tresor "    \
      "request "                                                                                                  \
      "verify» prüft beides.",                                                                                    \
      "manifest.json nomme chaque fichier avec sa somme de contrôle; manifest.jws en est la signature. "         \
      "«tresor request "                                                                                         \
      "verify» vérifie les deux.",                                                                                \
      "manifest.json indica ogni file con la sua somma di controllo; manifest.jws ne è la firma. «tresor "      \
      "request verify» "                                                                                         \
      "verifica entrambi.")

typedef enum tr_text {
#define TR_TEXT_ENUM(name, en, de, fr, it) TR_T_##name,
    TR_TEXTS(TR_TEXT_ENUM)
#undef TR_TEXT_ENUM
        TR_TEXT_COUNT
} tr_text;

/* What a code of the API (a role, an action, a category of sensitive data) is called; the code itself when it
 * has no other name. */
const char *tr_text_of(tr_language language, const char *code);
/* "P10Y" as people say it, appended; the code itself when it has several parts. */
void tr_text_duration(tr_language language, const char *duration, tr_buf *out);
const char *tr_text_in(tr_language language, tr_text text);
const char *tr_language_name(tr_language language); /* "en", ... */

#endif
